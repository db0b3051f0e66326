package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
)

// order is a line to a client process; answer is the line that it says when that is done.
type order struct {
	Do string // connect, mark, report

	// Of connect.
	Address string // host:port of the server
	Source  string // the client's own address
	Speech  string // duebell, status, centrifugo or gorilla
	First   int    // number of the first user
	Count   int
	Query   string // of the request, behind its path
}

type answer struct {
	Error string `json:",omitempty"`

	Connected, Failed int // of connect
	Dead              int // connections that have ended since
	Messages          int64
	Broken            int64   // frames that don't go on where the last one ended
	Doubled           int64   // messages that came again
	Micros            []int64 // latency of the messages since the mark, in the buckets of histogram
	Max               int64   // µs
	CPUMillis         int64
}

// clientProcess is one that connects and counts.
type clientProcess struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	mutex sync.Mutex
}

func startClient() (*clientProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &clientProcess{cmd: exec.Command(self, "client")}
	c.cmd.Stderr = os.Stderr
	c.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReaderSize(out, 1<<20)
	return c, c.cmd.Start()
}

func (c *clientProcess) do(o order) (answer, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if err := json.NewEncoder(c.in).Encode(o); err != nil {
		return answer{}, fmt.Errorf("the client has ended: %w", err)
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return answer{}, fmt.Errorf("the client has ended: %w", err)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return answer{}, err
	}
	if a.Error != "" {
		return a, fmt.Errorf("client: %s", a.Error)
	}
	return a, nil
}

func (c *clientProcess) stop() {
	_ = c.in.Close()
	_ = c.cmd.Wait()
}

// total adds what several clients have counted.
func total(answers []answer) (sum answer, latency *histogram) {
	latency = new(histogram)
	for _, a := range answers {
		sum.Connected += a.Connected
		sum.Failed += a.Failed
		sum.Dead += a.Dead
		sum.Messages += a.Messages
		sum.Broken += a.Broken
		sum.Doubled += a.Doubled
		sum.CPUMillis += a.CPUMillis
		latency.Max = max(latency.Max, a.Max)
		for i, n := range a.Micros {
			latency.Counts[i] += uint32(n)
			latency.Total += n
		}
	}
	return sum, latency
}
