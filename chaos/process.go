package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a program or a server that is killed and started again. One that ends without having been asked to is a finding,
// and is started again as a supervisor would.
type process struct {
	name      string
	path      string
	args      []string
	env       []string
	dir       string
	as        *syscall.Credential // nil: as this process
	family    bool                // signals go to its children too
	container bool                // see contain
	prepare   func() error        // before each start; nil: nothing
	term      time.Duration       // how long it may take after SIGTERM
	found     *findings

	mu      sync.Mutex
	cmd     *exec.Cmd
	ended   chan struct{}
	begin   int64     // where its log begins since its start
	asked   bool      // its end
	over    bool      // it isn't started any more
	frozen  time.Time // when it was last frozen or thawed
	excuses int       // reasons why it may end by itself
	excused time.Time // until when it may, after the last of them
}

func (p *process) log() string { return filepath.Join(p.found.history.folder, p.name+".log") }

// start starts it unless it runs.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.startLocked()
}

func (p *process) startLocked() error {
	if p.cmd != nil || p.over {
		return nil
	}
	if p.prepare != nil {
		if err := p.prepare(); err != nil {
			return fmt.Errorf("start %s: %w", p.name, err)
		}
	}
	log, err := os.OpenFile(p.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	fmt.Fprintf(log, "--- started at %s\n", p.found.history.at(time.Now()))
	begin, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	cmd := exec.Command(p.path, p.args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = p.env, p.dir, log, log
	// A group of its own, so that Ctrl-C reaches this process alone, which then ends them all.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: p.as}
	if p.container {
		contain(cmd)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.cmd, p.asked, p.ended, p.begin = cmd, false, make(chan struct{}), begin
	go p.watch(cmd, p.ended)
	return nil
}

func (p *process) watch(cmd *exec.Cmd, ended chan struct{}) {
	err := cmd.Wait()
	p.mu.Lock()
	asked, excused := p.asked, p.excuses > 0 || time.Now().Before(p.excused)
	p.cmd = nil
	p.mu.Unlock()
	close(ended)
	if asked {
		return
	}
	if excused {
		p.found.history.say("      %s ended by itself: %v", p.name, err)
	} else {
		p.found.add(broken, "%s ended by itself: %v", p.name, err)
	}
	time.Sleep(time.Second)
	if err := p.start(); err != nil {
		p.found.add(broken, "%v", err)
	}
}

// mayEnd says whether it may end by itself because of what is done to it, each reason for its own; a little longer, since it finds
// out late.
func (p *process) mayEnd(may bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if may {
		p.excuses++
		return
	}
	p.excuses--
	p.excused = time.Now().Add(20 * time.Second)
}

// kill ends it at once.
func (p *process) kill() {
	p.mu.Lock()
	if p.cmd == nil {
		p.mu.Unlock()
		return
	}
	p.asked = true
	pid, ended := p.cmd.Process.Pid, p.ended
	family := p.everybody(pid)
	if p.family { // first stopped, so that no child is born meanwhile
		send(family[:1], syscall.SIGSTOP)
		family = p.everybody(pid)
	}
	send(family, syscall.SIGKILL)
	p.mu.Unlock()
	<-ended
	for _, pid := range family[1:] { // orphans keep the data folder
		for syscall.Kill(pid, 0) == nil && !zombie(pid) {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// stop asks it to end, and wants exit code 0 in time.
func (p *process) stop() {
	p.mu.Lock()
	if p.cmd == nil {
		p.mu.Unlock()
		return
	}
	cmd, ended, begin := p.cmd, p.ended, p.begin
	p.asked = true
	p.mu.Unlock()
	begun := time.Now()
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-ended:
	case <-time.After(p.term + 10*time.Second):
		p.mu.Lock()
		frozen := p.frozen.After(begun.Add(-20 * time.Second))
		p.mu.Unlock()
		if !frozen {
			p.found.add(broken, "%s hasn't ended %s after SIGTERM", p.name, time.Since(begun).Round(time.Second))
		}
		p.kill()
		return
	}
	p.found.history.note("%s ended %s after SIGTERM: %s", p.name, time.Since(begun).Round(time.Millisecond), cmd.ProcessState)
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return // another fault's
	}
	if log, err := os.Stat(p.log()); err == nil && log.Size() == begin {
		return // it hadn't come so far that it knows of SIGTERM, which takes seconds on a busy machine
	}
	if cmd.ProcessState.ExitCode() != 0 {
		p.found.add(broken, "%s after SIGTERM: %s", p.name, cmd.ProcessState)
	}
}

// freeze stops it where it is; thaw lets it go on, unless it was killed.
func (p *process) freeze() (thaw func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return func() {}
	}
	cmd := p.cmd
	p.frozen = time.Now()
	family := p.everybody(cmd.Process.Pid)
	send(family[:1], syscall.SIGSTOP)
	family = p.everybody(cmd.Process.Pid)
	send(family, syscall.SIGSTOP)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.cmd == cmd {
			p.frozen = time.Now()
			send(family, syscall.SIGCONT)
		}
	}
}

// replace changes what is run from its next start on.
func (p *process) replace(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.path = path
}

// killChild kills one of its children: one whose title begins so.
func (p *process) killChild(what, title string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return errors.New(p.name + " isn't running")
	}
	for _, pid := range p.everybody(p.cmd.Process.Pid)[1:] {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.HasPrefix(string(text), title) {
			return syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return fmt.Errorf("%s has no %s", p.name, what)
}

// finish ends it for good.
func (p *process) finish() {
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	p.kill()
}

// everybody is a process and, where it is a family, its children.
func (p *process) everybody(pid int) []int {
	list := []int{pid}
	if !p.family {
		return list
	}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if parent, _ := parentOf(child); parent == pid {
			list = append(list, child)
		}
	}
	return list
}

// parentOf reads /proc/PID/stat, see proc(5).
func parentOf(pid int) (parent int, state byte) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	i := bytes.LastIndexByte(text, ')')
	if err != nil || i < 0 {
		return 0, 0
	}
	if n, _ := fmt.Sscanf(string(text[i+1:]), " %c %d", &state, &parent); n != 2 {
		return 0, 0
	}
	return parent, state
}

func zombie(pid int) bool {
	_, state := parentOf(pid)
	return state == 'Z' || state == 0
}

func send(pids []int, s syscall.Signal) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, s) // it may have gone
	}
}

// freeAddr is a free address of the loopback interface, below the ports that the kernel gives to connections: a program that is
// started again must find it free. None is given twice, since whoever got it may not listen yet.
func freeAddr() string {
	for {
		addr := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		if _, taken := givenAddrs.LoadOrStore(addr, true); taken {
			continue
		}
		l, err := net.Listen("tcp", addr)
		if err == nil {
			l.Close()
			return addr
		}
	}
}

var givenAddrs sync.Map
