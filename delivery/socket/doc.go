// Package socket carries whole text messages over very many WebSocket connections (RFC 6455). It knows nothing of
// notifications, tokens or the store: a Handler decides who may connect and what messages mean.
//
// An idle connection is one struct of 128 bytes: no goroutine, no buffer, no timer of its own. On Linux plain TCP
// connections are file descriptors in a few epoll loops; behind TLS and on other systems each has goroutines, behind
// the same Conn and Handler. Nothing that a client does or fails to do holds a loop: reads and writes never block, half a
// frame waits in a bounded buffer with a deadline, and a client that doesn't read costs the rest of one frame.
//
//	config.go         limits and time-outs
//	handler.go        what the application implements and gets
//	server.go         life: Serve, Drain, Shutdown
//	accept.go         a handshake judged, and what follows
//	accept_linux.go   connections accepted as descriptors; which are net/http's
//	handshake.go      the upgrade request, read with limits, and its answer
//	addresses.go      whose connection it is, and how many an address has
//	conn.go           one connection and its states
//	parser.go         bytes to frames and messages
//	receive.go        what arrived, checked and told to the handler
//	write.go          Write, and the rest of a frame in flight
//	batch.go          writes to many connections by one system call
//	ring_linux.go     the io_uring that does it
//	close.go          the close handshake and the end
//	wheel.go          when each connection is looked at
//	visit.go          pings and deadlines, at such a look
//	transport.go      what descriptors and streams have in common
//	poller_linux.go   epoll loops
//	stream.go         goroutines for a connection: TLS and other systems
//	web.go            connections handed to net/http
//	metrics.go        counters, as a Prometheus collector
package socket
