// Package delivery brings what was committed to inboxes to people's screens: the way out, from a commit to a socket.
//
// The database has the truth; what travels through Redis is a hint that may be lost, doubled or late. Each recipient has one
// counter, rev, and each frame says from which rev it leads to which. A session knows what its client has reached: it writes
// the frame that starts there, drops older ones, and otherwise reads the store. That one rule also resumes a client that was
// away, one whose socket was full, and all of them after Redis was. Nothing is queued for a session.
//
// In reading order:
//
//	message.go      the JSON messages and their frames
//	batch.go        how changes travel on the shard channels
//	publish.go      Publisher: from the commit to Redis
//	subscribe.go    from Redis to this pusher
//	hub.go          recipient to sessions
//	session.go      one connection and its chain
//	census.go       how many sessions users have on all pushers
//	catchup.go      what sessions read from the store: hello, missed changes, resets
//	sweep.go        compares all sessions with the store: lost messages, restored databases, revoked and expired tokens
//	protocol.go     what clients send over the socket
//	accept.go       who may connect, and from where on
//	inbox_api.go    the HTTP API; preferences.go its preferences
//	stream.go       the socket's feed as Server-Sent Events
//	drain.go        sending everybody away
//	pusher.go       Pusher: all of it, started and stopped
//	metrics.go      what it counts
//
// The socket package below carries the bytes. The model package is the contract of hub, session, catch-up and sweep as a set of
// rules, which its test explores exhaustively; model_test.go here holds the code to them.
package delivery
