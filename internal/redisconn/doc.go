// Package redisconn opens Redis as REDIS_URL names it: one server, Sentinel, Cluster, or an embedded one in the process.
//
//	url.go       ParseURL: what REDIS_URL may be
//	conn.go      Open, Conn
//	embedded.go  miniredis, with a clock that goes
//	log.go       what go-redis logs, by slog
package redisconn
