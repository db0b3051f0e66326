package main

import (
	"bytes"
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
