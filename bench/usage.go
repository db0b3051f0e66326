package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"strconv"
	"time"
)

// usage is what a process has taken so far.
type usage struct {
	cpu time.Duration // user and system
	rss int64         // bytes, now
}

// clockTicks is USER_HZ, which is 100 on every Linux that Go runs on.
const clockTicks = 100

func usageOf(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	// The name in brackets may have spaces. utime and stime are the fields 14 and 15, rss in pages is 24.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	number := func(field int) int64 {
		n, _ := strconv.ParseInt(string(fields[field-3]), 10, 64)
		return n
	}
	return usage{
		cpu: time.Duration(number(14)+number(15)) * time.Second / clockTicks,
		rss: number(24) * int64(os.Getpagesize()),
	}, nil
}

// peakOf is the most memory that a process has held, in bytes.
func peakOf(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	var kb int64
	if _, err := fmt.Sscan(string(rest), &kb); err != nil {
		return 0, fmt.Errorf("no VmHWM of process %d: %w", pid, err)
	}
	return kb << 10, nil
}

// connectionsCPU is what each process of PostgreSQL that serves a connection has taken so far. It runs on this machine.
func connectionsCPU(ctx context.Context, db *sql.DB) (map[int]time.Duration, error) {
	rows, err := db.QueryContext(ctx, `SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	taken := map[int]time.Duration{}
	for rows.Next() {
		var pid int
		if err := rows.Scan(&pid); err != nil {
			return nil, err
		}
		if u, err := usageOf(pid); err == nil { // it may have ended meanwhile
			taken[pid] = u.cpu
		}
	}
	return taken, rows.Err()
}
