package auth

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
)

const (
	jwksInterval = 5 * time.Minute // a key that its owner takes out is refused from then on
	jwksCoolDown = 5 * time.Second // least time between fetches, whatever key ids arrive
	jwksTimeout  = 5 * time.Second // a fetch
	jwksWait     = 3 * time.Second // a request that needs a key which isn't here yet
	jwksMaxBytes = 1 << 20
	jwksMaxKeys  = 100
)

// keySet is a JWK set that is fetched by one goroutine of its own: at the start, in intervals, and, not more often than the
// cool-down allows, when a token names a key id that isn't known. A fetch that fails leaves the keys as they are.
type keySet struct {
	url      string
	client   *http.Client
	log      *slog.Logger
	interval time.Duration
	coolDown time.Duration
	stop     context.CancelFunc
	stopped  chan struct{}
	wanted   chan struct{} // holds one: the goroutine shall fetch

	mu      sync.Mutex
	keys    []setKey
	fetched bool          // once at least
	running chan struct{} // closed when the fetch that is asked for or under way has ended; nil if none is
	last    time.Time     // when that or the last one was asked for
}

type setKey struct {
	id, alg string
	public  crypto.PublicKey
}

func newKeySet(address string, log *slog.Logger) (*keySet, error) {
	if u, err := url.Parse(address); err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return nil, errors.New("the JWK set needs an http(s) URL")
	}
	s := &keySet{
		url:      address,
		client:   &http.Client{Timeout: jwksTimeout},
		log:      log,
		interval: jwksInterval,
		coolDown: jwksCoolDown,
	}
	s.start()
	return s, nil
}

func (s *keySet) start() {
	ctx, stop := context.WithCancel(context.Background())
	s.stop, s.stopped, s.wanted = stop, make(chan struct{}), make(chan struct{}, 1)
	s.request()
	go s.run(ctx)
}

func (s *keySet) close() {
	s.stop()
	<-s.stopped
}

func (s *keySet) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.fetched
}

// find returns the keys for a token; it fetches the set if it has none, and waits for that a little.
func (s *keySet) find(ctx context.Context, alg, kid string) []crypto.PublicKey {
	if keys := s.known(alg, kid); keys != nil {
		return keys
	}
	done := s.request()
	if done == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, jwksWait)
	defer cancel()
	select {
	case <-done:
	case <-s.stopped:
	case <-ctx.Done():
	}
	return s.known(alg, kid)
}

// known returns the keys with this id, or all of them for a token that names none.
func (s *keySet) known(alg, kid string) []crypto.PublicKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []crypto.PublicKey
	for _, key := range s.keys {
		if key.alg == alg && (kid == "" || key.id == kid) {
			keys = append(keys, key.public)
		}
	}
	return keys
}

// request asks for a fetch and returns what is closed at its end: nil when the last one is too recent to ask again.
func (s *keySet) request() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		return s.running
	}
	if time.Since(s.last) < s.coolDown {
		return nil
	}
	s.running, s.last = make(chan struct{}), time.Now()
	select {
	case s.wanted <- struct{}{}:
	default:
	}
	return s.running
}

func (s *keySet) run(ctx context.Context) {
	defer close(s.stopped)
	tick := time.NewTicker(s.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.wanted:
		}
		keys, err := s.fetch(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Warn("JWK set not fetched; the last good keys stay", "error", err)
		}
		s.mu.Lock()
		if err == nil {
			s.keys, s.fetched = keys, true
		}
		if s.running != nil {
			close(s.running)
			s.running = nil
		}
		s.mu.Unlock()
	}
}

func (s *keySet) fetch(ctx context.Context) ([]setKey, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %s", response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, jwksMaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(body) > jwksMaxBytes {
		return nil, fmt.Errorf("longer than %d bytes", jwksMaxBytes)
	}
	return parseKeySet(body)
}

// parseKeySet keeps the keys that can verify tokens and passes over the others, as RFC 7517 (5) asks for.
func parseKeySet(body []byte) ([]setKey, error) {
	var set struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil || set.Keys == nil {
		return nil, errors.New("not a JWK set")
	}
	var keys []setKey
	for _, raw := range *set.Keys {
		if len(keys) == jwksMaxKeys {
			break
		}
		var fields jwkset.JWKMarshal
		if json.Unmarshal(raw, &fields) != nil || (fields.USE != "" && fields.USE != jwkset.UseSig) {
			continue
		}
		if fields.KTY == jwkset.KtyOct { // a secret in public
			continue
		}
		jwk, err := jwkset.NewJWKFromMarshal(fields, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err != nil {
			continue
		}
		alg, err := algorithmOf(jwk.Key())
		if err != nil || (fields.ALG != "" && fields.ALG.String() != alg) {
			continue
		}
		keys = append(keys, setKey{id: fields.KID, alg: alg, public: jwk.Key()})
	}
	return keys, nil
}
