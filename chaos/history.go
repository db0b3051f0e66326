package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// history is what happened when. The terminal gets what matters, a file everything, so that a finding can be traced.
type history struct {
	began  time.Time
	folder string

	mu   sync.Mutex
	out  io.Writer
	file *os.File
	to   *bufio.Writer
}

func newHistory(folder string, out io.Writer) (*history, error) {
	file, err := os.Create(filepath.Join(folder, "history.log"))
	if err != nil {
		return nil, err
	}
	return &history{began: time.Now(), folder: folder, out: out, file: file, to: bufio.NewWriter(file)}, nil
}

// say is for the terminal and the file, note for the file alone.
func (h *history) say(format string, args ...any)  { h.write(true, format, args...) }
func (h *history) note(format string, args ...any) { h.write(false, format, args...) }

func (h *history) write(aloud bool, format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	line := fmt.Sprintf("%8.3fs  %s\n", time.Since(h.began).Seconds(), fmt.Sprintf(format, args...))
	_, _ = h.to.WriteString(line) // close tells
	if aloud {
		_, _ = io.WriteString(h.out, line)
	}
}

// at is an instant as the history's lines show it.
func (h *history) at(t time.Time) string { return fmt.Sprintf("%.3fs", t.Sub(h.began).Seconds()) }

func (h *history) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.to.Flush(); err != nil {
		return err
	}
	return h.file.Close()
}

// What can be found, as the keys of RESULT.
const (
	lost    = "lost"          // acknowledged, and not there
	doubled = "doubled"       // there twice
	gap     = "gaps"          // a chain that broke, an order that isn't kept, a state that isn't the database's
	broken  = "policy_breaks" // a reminder that must not be, or isn't and must; a program that broke its word
	leaked  = "leaks"         // something is left that should have gone
)

// findings are collected from everywhere.
type findings struct {
	history *history

	mu    sync.Mutex
	count map[string]int
	lines []string
}

func newFindings(h *history) *findings { return &findings{history: h, count: map[string]int{}} }

// maxSaid is how many findings of a kind the terminal shows; the file has all.
const maxSaid = 20

func (f *findings) add(kind, format string, args ...any) {
	f.mu.Lock()
	f.count[kind]++
	n := f.count[kind]
	line := fmt.Sprintf("FOUND %s: %s", kind, fmt.Sprintf(format, args...))
	f.lines = append(f.lines, line)
	f.mu.Unlock()
	f.history.write(n <= maxSaid, "%s", line)
}

func (f *findings) of(kind string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count[kind]
}

// result is the last line of a run.
type result struct {
	Seed    uint64 `json:"seed"`
	Form    string `json:"form"`
	Events  int    `json:"events"`
	Faults  int    `json:"faults"`
	Lost    int    `json:"lost"`
	Doubled int    `json:"doubled"`
	Gaps    int    `json:"gaps"`
	Breaks  int    `json:"policy_breaks"`
	Leaks   int    `json:"leaks"`
}

func (r result) clean() bool { return r.Lost+r.Doubled+r.Gaps+r.Breaks+r.Leaks == 0 }
