package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// item is a notification as a client gets it.
type item struct {
	ID         string     `json:"id"`
	Kind       string     `json:"kind"`
	Title      string     `json:"title"`
	Data       eventData  `json:"data"`
	ReadAt     *time.Time `json:"read_at"`
	ArchivedAt *time.Time `json:"archived_at"`
	ResolvedAt *time.Time `json:"resolved_at"`
	Quiet      bool       `json:"quiet"`
	CreatedRev int64      `json:"created_rev"`
	Rev        int64      `json:"rev"`
}

// eventData is what the data of notifications says about what they tell.
type eventData struct {
	Event   string `json:"event"` // of a message
	To      string `json:"to"`    // of a status change: the event's id too
	LoanID  string `json:"loan_id"`
	DueDate string `json:"due_date"`
	From    string `json:"previous_due_date"`
	Count   int    `json:"count"`
}

// event is the id of the event that a notification tells; "" for what the book says.
func (d eventData) event() string {
	if d.Event != "" {
		return d.Event
	}
	return d.To
}

type counts struct {
	Unread int64 `json:"unread"`
	Unseen int64 `json:"unseen"`
	Total  int64 `json:"total"`
}

// frame is any message of the server.
type frame struct {
	Type  string `json:"type"`
	User  string `json:"user"`
	Epoch string `json:"epoch"`
	From  int64  `json:"from"`
	Rev   int64  `json:"rev"`
	counts
	Items       []item   `json:"items"`
	Removed     []string `json:"removed"`
	ReadThrough int64    `json:"read_through"`
	Ref         string   `json:"ref"`
	Code        string   `json:"code"`
	Message     string   `json:"message"`
	ReconnectMS int64    `json:"reconnect_ms"`
}

// chain is what a device knows: a cursor and what lies before it. It holds the server to the contract.
type chain struct {
	epoch   string
	rev     int64
	counts  counts
	items   map[string]item
	told    map[string]map[string]bool // by event: the notifications that ever told it
	resets  int
	greeted bool // on this connection
}

func newChain() *chain { return &chain{items: map[string]item{}, told: map[string]map[string]bool{}} }

// connected forgets what belongs to a connection.
func (c *chain) connected() { c.greeted = false }

// take takes a frame and says what is wrong with it, "" if nothing is.
func (c *chain) take(f frame) (wrong string) {
	if !c.greeted && f.Type != "hello" {
		wrong = "the first frame is " + f.Type
	}
	switch f.Type {
	case "hello":
		switch {
		case c.greeted:
			wrong = "a second hello"
		case c.epoch != "" && f.Epoch != c.epoch:
			wrong = fmt.Sprintf("the epoch was %s and is %s", c.epoch, f.Epoch)
		case f.Rev < c.rev:
			wrong = fmt.Sprintf("hello says rev %d, below %d", f.Rev, c.rev)
		}
		c.greeted, c.epoch = true, f.Epoch
		if f.Rev == c.rev {
			c.counts = f.counts
		}
	case "changes":
		switch {
		case f.From != c.rev:
			wrong = fmt.Sprintf("changes from %d after %d", f.From, c.rev)
		case f.Rev < f.From:
			wrong = fmt.Sprintf("changes from %d to %d", f.From, f.Rev)
		}
		for _, i := range f.Items {
			old, known := c.items[i.ID]
			switch {
			case known && i.Rev < old.Rev:
				wrong = fmt.Sprintf("%s comes with rev %d after %d", i.ID, i.Rev, old.Rev)
			case !known && i.CreatedRev <= f.From && c.resets == 0:
				wrong = fmt.Sprintf("%s of rev %d comes only after rev %d", i.ID, i.CreatedRev, f.From)
			}
			c.items[i.ID] = i
			if e := i.Data.event(); e != "" {
				if c.told[e] == nil {
					c.told[e] = map[string]bool{}
				}
				c.told[e][i.ID] = true
			}
		}
		for _, id := range f.Removed {
			delete(c.items, id)
		}
		if f.ReadThrough > 0 {
			now := time.Now()
			for id, i := range c.items {
				if i.CreatedRev <= f.ReadThrough && i.ReadAt == nil {
					i.ReadAt = &now
					c.items[id] = i
				}
			}
		}
		c.rev, c.counts = f.Rev, f.counts
	case "reset": // nothing here misses so much, and no database is restored
		wrong = fmt.Sprintf("reset from %d to %d", c.rev, f.Rev)
		c.resets++
		c.epoch, c.rev, c.counts = f.Epoch, f.Rev, f.counts
	}
	return wrong
}

// screen is one device of one person, most on the socket, some on the event stream. It comes back whenever its connection ends, and also leaves by itself now and then.
type screen struct {
	name   string
	user   string
	in     *installation
	found  *findings
	random *rand.Rand
	token  string
	events bool // it takes the stream, not the socket

	mu        sync.Mutex
	chain     *chain
	conn      *websocket.Conn // nil while there is none
	connected bool
	heard     time.Time
	answers   map[string]chan frame // by ref
	refs      int
	calm      bool // it stays
}

func newScreen(in *installation, found *findings, user string, number int, seed uint64) *screen {
	return &screen{name: fmt.Sprintf("%s/%d", user, number), user: user, in: in, found: found, chain: newChain(), answers: map[string]chan frame{},
		token: userToken(user), events: number%5 == 4, random: rand.New(rand.NewPCG(seed, 5000+uint64(number)))}
}

// silence is how long a connection may say nothing: the server pings.
const silence = 2*pingInterval + 2*time.Second

// run lives until ctx ends.
func (s *screen) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.session(ctx)
		s.in.history.note("screen %s: connection ended: %v", s.name, err)
		rest(ctx, time.Duration(50+s.random.IntN(450))*time.Millisecond)
	}
}

// session is one connection, from the cursor on.
func (s *screen) session(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.mu.Lock()
	rev, epoch := s.chain.rev, s.chain.epoch
	s.chain.connected()
	s.heard = time.Now()
	s.mu.Unlock()
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel(nil)
	watching.Go(func() { s.watch(ctx, cancel, time.Duration(5+s.random.IntN(40))*time.Second) })
	host := one(s.random, s.in.sockets)
	if s.events {
		return errors.Join(s.stream(ctx, host, rev, epoch), context.Cause(ctx))
	}
	return errors.Join(s.socket(ctx, host, rev, epoch), context.Cause(ctx))
}

func (s *screen) socket(ctx context.Context, host string, rev int64, epoch string) error {
	query := fmt.Sprintf("?rev=%d", rev)
	if epoch != "" {
		query += "&epoch=" + epoch
	}
	dialing, done := context.WithTimeout(ctx, 5*time.Second)
	conn, _, err := websocket.Dial(dialing, "ws://"+host+"/v1/ws"+query, &websocket.DialOptions{
		Subprotocols:   []string{"duebell.v1", "bearer." + s.token},
		OnPingReceived: func(context.Context, []byte) bool { s.hear(); return true },
	})
	done()
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(4 << 20)
	s.connect(conn)
	defer s.disconnect()
	for {
		_, text, err := conn.Read(ctx)
		if err == nil && !json.Valid(text) {
			// The library takes a message for whole whose connection was cut where one of its reads ended: the next read tells.
			if _, _, err := conn.Read(ctx); err != nil {
				return fmt.Errorf("cut in a message: %w", err)
			}
		}
		if err != nil {
			return err
		}
		if err := s.take(text); err != nil {
			return err
		}
	}
}

// stream is the same feed as Server-Sent Events. The id of an event is the cursor behind it.
func (s *screen) stream(ctx context.Context, host string, rev int64, epoch string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/v1/stream?rev=0", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	if epoch != "" {
		request.Header.Set("Last-Event-ID", fmt.Sprintf("%s.%d", epoch, rev))
	}
	transport := &http.Transport{ResponseHeaderTimeout: 5 * time.Second}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	s.connect(nil)
	defer s.disconnect()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 4<<20)
	id, data := "", ""
	for lines.Scan() {
		s.hear()
		switch name, value, _ := strings.Cut(lines.Text(), ": "); name {
		case "id":
			id = value
		case "data":
			data = value
		case "event": // close
			return errors.New("the server closed the stream")
		case "": // ends an event; one whose end never came counts for nothing
			if data == "" {
				continue
			}
			if err := s.take([]byte(data)); err != nil {
				return err
			}
			s.mu.Lock()
			if at := fmt.Sprintf("%s.%d", s.chain.epoch, s.chain.rev); id != "" && id != at {
				s.found.add(gap, "screen %s: the event's id is %s, its frame leads to %s: %.2000s", s.name, id, at, data)
			}
			s.mu.Unlock()
			id, data = "", ""
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.EOF
}

// connect notes that a connection stands; conn is nil for a stream.
func (s *screen) connect(conn *websocket.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.connected = conn, true
}

func (s *screen) disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.connected = nil, false
	for ref, answer := range s.answers {
		close(answer)
		delete(s.answers, ref)
	}
}

func (s *screen) hear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = time.Now()
}

// watch ends a connection on which nothing comes, and any after a while.
func (s *screen) watch(ctx context.Context, cancel context.CancelCauseFunc, stay time.Duration) {
	leave := time.Now().Add(stay)
	for rest(ctx, 500*time.Millisecond) {
		s.mu.Lock()
		silent, calm := time.Since(s.heard) > silence, s.calm
		s.mu.Unlock()
		switch {
		case silent:
			cancel(errors.New("nothing was heard"))
		case !calm && time.Now().After(leave):
			cancel(errors.New("it left"))
		}
	}
}

// take takes a message. The error ends the connection.
func (s *screen) take(text []byte) error {
	var f frame
	if err := json.Unmarshal(text, &f); err != nil {
		s.found.add(gap, "screen %s: %v in %s", s.name, err, text)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = time.Now()
	if f.Type == "changes" || f.Type == "hello" || f.Type == "reset" {
		var told []string
		for _, i := range f.Items {
			told = append(told, cmp.Or(i.Data.event(), i.Kind))
		}
		s.in.history.note("screen %s: %s %d to %d, %d items %v", s.name, f.Type, f.From, f.Rev, len(f.Items), told)
	}
	if wrong := s.chain.take(f); wrong != "" {
		s.found.add(gap, "screen %s: %s: %.2000s", s.name, wrong, text)
	}
	if answer := s.answers[f.Ref]; answer != nil && (f.Type == "ok" || f.Type == "error") {
		answer <- f
		delete(s.answers, f.Ref)
	}
	return nil
}

// ask sends a request and waits for its answer.
func (s *screen) ask(ctx context.Context, request object) error {
	s.mu.Lock()
	conn := s.conn
	if conn == nil {
		s.mu.Unlock()
		return errors.New("not connected")
	}
	s.refs++
	ref := fmt.Sprint(s.refs)
	answer := make(chan frame, 1)
	s.answers[ref] = answer
	s.mu.Unlock()
	request["ref"] = ref
	text, _ := json.Marshal(request)
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageText, text); err != nil {
		return err
	}
	select {
	case f, ok := <-answer:
		switch {
		case !ok:
			return errors.New("the connection ended")
		case f.Type == "error":
			return fmt.Errorf("%s: %s", f.Code, f.Message)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// shown lists what is on the screen, oldest first, and the rev that it has reached.
func (s *screen) shown() (list []item, rev int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range s.chain.items {
		list = append(list, i)
	}
	slices.SortFunc(list, func(a, b item) int { return int(a.CreatedRev - b.CreatedRev) })
	return list, s.chain.rev
}

// rev is what it has reached, and whether it is connected.
func (s *screen) rev() (rev int64, connected bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.chain.rev, s.connected
}

// stay keeps it from leaving by itself.
func (s *screen) stay() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calm = true
}
