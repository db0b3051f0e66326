package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"
	"github.com/redis/go-redis/v9"
)

const gorillaChannel = "gorilla:"

func (r *rig) gorilla(host string) (*target, error) {
	t := &target{name: "gorilla", address: host + ":8000"}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := t.run(self, []string{"gorilla", t.address, r.redisURL}, nil); err != nil {
		return t, err
	}
	var n int64
	t.publish = pipeline(r.redis, func(user int) string { return gorillaChannel + userName(user) }, func(at time.Time) []byte {
		n++
		return appendNotification(nil, n, at)
	})
	return t, nil
}

// runGorilla is the server that one writes from gorilla/websocket's chat example: two goroutines a connection, a channel of 256
// messages for what waits, a Redis subscription a user, pings every 25 s.
func runGorilla(address, redisURL string) error {
	options, err := redis.ParseURL(redisURL)
	if err != nil {
		return err
	}
	s := &gorillaServer{conns: map[string]map[*gorillaConn]bool{}}
	s.subscription = redis.NewClient(options).Subscribe(context.Background())
	go s.receive()
	return http.ListenAndServe(address, http.HandlerFunc(s.serve))
}

type gorillaServer struct {
	subscription *redis.PubSub
	mu           sync.RWMutex
	conns        map[string]map[*gorillaConn]bool
}

type gorillaConn struct {
	ws   *websocket.Conn
	send chan []byte
}

var upgrader = websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024, CheckOrigin: func(*http.Request) bool { return true }}

func (s *gorillaServer) serve(w http.ResponseWriter, r *http.Request) {
	var claims jwt.RegisteredClaims
	text := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	_, err := jwt.ParseWithClaims(text, &claims, func(*jwt.Token) (any, error) { return []byte(secret), nil }, jwt.WithValidMethods([]string{"HS256"}))
	if err != nil {
		http.Error(w, "no token", http.StatusUnauthorized)
		return
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c := &gorillaConn{ws: ws, send: make(chan []byte, 256)}
	s.mu.Lock()
	first := len(s.conns[claims.Subject]) == 0
	if first {
		s.conns[claims.Subject] = map[*gorillaConn]bool{}
	}
	s.conns[claims.Subject][c] = true
	s.mu.Unlock()
	if first {
		if err := s.subscription.Subscribe(context.Background(), gorillaChannel+claims.Subject); err != nil {
			fmt.Fprintln(os.Stderr, "subscribe:", err)
		}
	}
	go c.write()
	c.read()
	s.mu.Lock()
	delete(s.conns[claims.Subject], c)
	s.mu.Unlock()
	close(c.send)
}

func (s *gorillaServer) receive() {
	for m := range s.subscription.Channel(redis.WithChannelSize(100_000)) {
		s.mu.RLock()
		for c := range s.conns[m.Channel[len(gorillaChannel):]] {
			select {
			case c.send <- []byte(m.Payload):
			default: // as in the example: who is slow loses
			}
		}
		s.mu.RUnlock()
	}
}

func (c *gorillaConn) read() {
	wait := func() { _ = c.ws.SetReadDeadline(time.Now().Add(33 * time.Second)) }
	wait()
	c.ws.SetPongHandler(func(string) error { wait(); return nil })
	for {
		if _, _, err := c.ws.ReadMessage(); err != nil {
			return
		}
		wait()
	}
}

func (c *gorillaConn) write() {
	ticker := time.NewTicker(25 * time.Second)
	defer ticker.Stop()
	defer c.ws.Close()
	for {
		select {
		case message, ok := <-c.send:
			if !ok {
				return
			}
			_ = c.ws.SetWriteDeadline(time.Now().Add(10 * time.Second))
			if c.ws.WriteMessage(websocket.TextMessage, message) != nil {
				return
			}
		case <-ticker.C:
			_ = c.ws.SetWriteDeadline(time.Now().Add(10 * time.Second))
			if c.ws.WriteMessage(websocket.PingMessage, nil) != nil {
				return
			}
		}
	}
}
