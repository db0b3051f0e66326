// Package model is the delivery contract, small enough to be checked exhaustively. Nothing but tests use it.
//
// The package delivery is tested by what happens to happen; here everything happens that can. A state is the database's
// inbox of one recipient, what waits in publishers and in Redis, and sessions with their sockets and clients, all in
// numbers up to four. Each rule of the code is a step from state to state, named after the function it stands for, and cut
// where another process may come in between: a commit and its message, joining the hub and the read of the head, a read of
// the store and what is done with it. From the empty beginning every order of steps is followed, breadth first, and states
// that were seen are not followed again.
//
// Two things are promised. The chain of one connection never breaks: each frame starts where the last one ended, and a
// client at rev N knows every notification that hasn't changed since N as it is, and none that isn't there. And clients
// arrive: once nothing is committed or lost any more, the steps that are left come to an end in whatever order they
// are taken, and then each client knows what the store has. So it is from every state that was reached.
//
// Messages are lost, doubled, late and out of order; connections are lost; sockets are full; pages end inside of a rev; an
// inbox is erased; the database is restored to an earlier moment, writers stopped, as the manual has it. The bounds are two
// writers, two sessions and four revs. Sessions share the store and the messages only and change neither, so what one of
// them goes through doesn't depend on another: one is followed with all that its socket may do, two with less.
//
// Left out: tokens, limits, requests of clients (they are writers like others), a store that can't be read (the same read is
// tried again), and time. The sweep is one step, which may find anybody at any time, and does find whoever lacks something.
//
// The test also breaks the design in a dozen ways, each of which the explorer has to notice, with the shortest way there. So each
// rule is known to be needed. And the test of the package delivery goes thousands of ways of the model with the real hub and session,
// and compares after each step: so the model is one of that code.
//
// Reading order: script.go (what is committed), state.go, rules.go (what may happen), explore.go, walk.go (one way at random).
package model
