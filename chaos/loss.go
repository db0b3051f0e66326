package main

import (
	"fmt"
	"net"
)

// lose drops some percent of the packets between a program and its proxy, both ways, below TCP. find takes that back.
func lose(p *proxy, percent int) (find func() error, err error) {
	if !isolated() {
		return nil, fmt.Errorf("%w: only root can drop packets", errLeftOut)
	}
	_, port, err := net.SplitHostPort(p.listen)
	if err != nil {
		return nil, err
	}
	table := fmt.Sprint("loss", toxicNames.Add(1))
	drop := fmt.Sprintf("numgen random mod 100 < %d drop", percent)
	rules := fmt.Sprintf("table inet %s { chain in { type filter hook input priority 0; tcp dport %s %s; tcp sport %s %s; }; }", table, port, drop, port, drop)
	find = func() error { return command("nft", "delete", "table", "inet", table) }
	return find, command("nft", rules)
}
