package socket

// visit is the wheel's look at a connection: a ping, a deadline, and the time of the next look.
func (c *Conn) visit(now uint32) {
	ticks := &c.loop.server.ticks
	c.mu.Lock()
	switch c.state.Load() {
	case stateHandshake:
		c.mu.Unlock()
		c.loop.count.expired.Add(1)
		c.drop()
		return
	case stateOpen:
		c.keepAlive(now)
	}
	state, end := c.state.Load(), c.ping
	c.mu.Unlock()
	switch {
	case state == stateDead:
	case state == stateOpen:
		due := end
		if silence := c.seen.Load() + ticks.silence; before(silence, due) {
			due = silence
		}
		if frame := c.frameDue.Load(); frame != 0 && before(frame, due) {
			due = frame
		}
		c.loop.wheel.schedule(c, due)
	case before(now, end):
		c.loop.wheel.schedule(c, end)
	default: // the close handshake took too long
		c.drop()
	}
}

// keepAlive closes an open connection that is silent or holds half a message, or pings it if that is due; mu is held.
func (c *Conn) keepAlive(now uint32) {
	ticks := &c.loop.server.ticks
	if frame := c.frameDue.Load(); frame != 0 && !before(now, frame) {
		c.leave(stateEnding, CodeSilent, "the message was not finished in time")
		return
	}
	if now-c.seen.Load() >= ticks.silence && !before(now, c.seen.Load()) {
		c.flags |= flagHangUp
		c.leave(stateEnding, CodeSilent, "no answer to pings")
		return
	}
	if before(now, c.ping) {
		return
	}
	if c.ping += ticks.ping; !before(now, c.ping) { // the process slept
		c.ping = now + ticks.ping
	}
	switch {
	case c.out.idle():
		c.say(pingFrame, false)
		c.loop.count.pings.Add(1)
	case c.flags&flagStalled != 0: // not a byte in a whole interval
		c.flags |= flagHangUp
		c.leave(stateEnding, CodeSilent, "nothing was read")
	default:
		c.flags |= flagStalled
		c.out.ping = true
	}
}
