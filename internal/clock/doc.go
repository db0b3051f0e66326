// Package clock is the time that policy and cron live in: the real one, or a simulated one for the demo and tests.
// Tokens, leases, pings and time-outs never use it; they stay real.
//
//	clock.go      Clock, Real
//	wrong.go      Wrong: Real on a machine whose clock is wrong, for tests
//	simulated.go  Simulated: runs at a speed, or, driven, only while nothing is left to do
package clock
