package config

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"
)

// Config is what the environment says, with defaults filled in and every value checked.
type Config struct {
	DatabaseURL string // postgres://…, postgresql://… or sqlite:PATH
	RedisURL    string // as redisconn.ParseURL accepts

	JWTSecret, JWTSecretPrevious string // each empty or at least 32 bytes
	JWTPublicKeyFile             string
	JWTPublicKey                 []byte // what is in JWTPublicKeyFile; nil without
	JWKSURL                      string
	Issuer, Audience             string // unchecked if empty
	UserClaim                    string
	ServiceAudience              string
	AllowedOrigins               []string // scheme://host[:port], lower case; empty: same origin only

	PolicyFile         string // empty: the built-in policy
	SMTPURL, EmailFrom string // both or neither
	AsynqmonWrite      bool

	PusherTLSCert, PusherTLSKey string // both or neither
	SchedulerAddr, WorkerAddr   string
	PusherAddr, PusherOpsAddr   string
	TrustedProxies              []netip.Prefix // whose TrustedProxiesHeader is believed
	TrustedProxiesHeader        string         // "X-Forwarded-For" or Forwarded
	PusherIOUring               bool

	LogLevel  slog.Level
	LogFormat string // "text", "json" or "": text on a terminal, else json
	Pprof     bool   // profiles on the internal addresses

	ShutdownTimeout  time.Duration // from SIGTERM to the exit
	DrainWindow      time.Duration // over which clients are told to reconnect; shorter than ShutdownTimeout
	PingInterval     time.Duration
	PongTimeout      time.Duration
	HandshakeTimeout time.Duration
	SweepInterval    time.Duration // one look at the revs of all connected recipients

	DatabaseConnections  int // of a program, to PostgreSQL; on SQLite its readers
	MaxHandshakes        int // at once
	MaxMessageBytes      int // client to server
	MaxMessagesPerSecond int // of a session
	// Twice as many in a burst; connections of an address as many as it may have.
	MaxRequestsPerSecond       int // of a user to the inbox API, and sockets
	MaxConnectsPerSecond       int // of an address to a pusher
	MaxIngestRequestsPerSecond int // of a service token's subject
	MaxSessionsPerUser         int
	// MaxConnectionsPerAddress is of a pusher; 0: 1,000, and no limit for addresses that aren't public.
	MaxConnectionsPerAddress int
	CatchUpLimit             int   // changed rows beyond which a resume answers reset
	MaxBodyBytes             int64 // of a request
	MaxImportBytes           int64 // of a bulk request
	WorkerConcurrency        int   // tasks at once

	TestWrongClock string // see clock.Wrong; empty: the clock is the machine's
}

// Forwarded is the TrustedProxiesHeader of RFC 7239.
const Forwarded = "Forwarded"

// Options are what programs differ in.
type Options struct {
	// RedisURL is the default of REDIS_URL; redis://127.0.0.1:6379/0 if empty.
	RedisURL string
	// NeedsAuth makes it a problem when there is nothing to verify tokens with.
	NeedsAuth bool
}

// Load reads every variable by getenv, or from the file that NAME_FILE names, checks them all, and returns an error with
// one line for each problem, which names the variable and what to do. The error shows no secret. An empty variable counts
// as unset.
func Load(getenv func(string) string, o Options) (Config, error) {
	var c Config
	var problems []string
	report := func(name, text string) { problems = append(problems, name+": "+text) }
	for _, v := range c.variables(o) {
		value, err := v.value(getenv)
		if err == nil && value != "" {
			err = v.read(value)
		}
		if err != nil {
			report(v.name, err.Error())
		}
	}
	c.checkTogether(o, report)
	if len(problems) > 0 {
		return Config{}, Error{problems}
	}
	return c, nil
}

// Error lists everything that is wrong with the environment.
type Error struct{ Problems []string }

func (e Error) Error() string {
	if len(e.Problems) == 1 {
		return "the configuration has a problem:\n  " + e.Problems[0]
	}
	return fmt.Sprintf("the configuration has %d problems:\n  %s", len(e.Problems), strings.Join(e.Problems, "\n  "))
}

// value is what the variable is set to, or its default.
func (v variable) value(getenv func(string) string) (string, error) {
	value, file := getenv(v.name), getenv(v.name+"_FILE")
	switch {
	case value != "" && file != "":
		return "", fmt.Errorf("set it or %s_FILE, not both", v.name)
	case file != "":
		text, err := readFile(file)
		if err != nil {
			return "", fmt.Errorf("%s_FILE: %w", v.name, err)
		}
		value = strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
		if value == "" {
			return "", fmt.Errorf("%s_FILE: %s is empty", v.name, file)
		}
	case value == "":
		value = v.fallback
	}
	return value, nil
}

// maxFile is more than any value needs.
const maxFile = 64 << 10

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s is longer than %d bytes", name, maxFile)
	}
	return text, nil
}

// String keeps secrets out of %v.
func (c Config) String() string { return "config (not shown: it holds secrets)" }

// GoString keeps secrets out of %#v.
func (c Config) GoString() string { return c.String() }

// LogValue keeps secrets out of logs.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }
