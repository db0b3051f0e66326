// Package ops is what every program shows its operator: logs, health, metrics, and an HTTP server that ends cleanly.
//
//	log.go      NewLogger
//	health.go   Health: /livez, /readyz
//	metrics.go  NewRegistry, NewMux: /metrics beside them
//	request.go  Requests: log, metrics and panics of HTTP handlers
//	serve.go    Serve
package ops
