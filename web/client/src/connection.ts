import { backoff } from './backoff.ts'
import type { Environment } from './environment.ts'
import { type Link, openSocket, openStream } from './link.ts'
import { badToken, type Cursor, forbidden, type ServerMessage, tooMany } from './messages.ts'
import { createTimers } from './timers.ts'
import type { Token, Tokens } from './token.ts'
import type { ClientOptions, ConnectionState } from './types.ts'

const probeTimeout = 3000

export interface ConnectionHost {
  env: Environment
  tokens: Tokens
  transport: ClientOptions['transport']
  /** Whether this connection may open now, with this token; if not, open() is called when it may. */
  admit: (token: Token) => boolean
  cursor: () => Cursor | null
  /** False: the chain of frames is broken, and the connection starts anew from the cursor. */
  receive: (message: ServerMessage) => boolean
  /** What was missed hasn't all come yet. */
  behind: () => boolean
  state: (state: ConnectionState) => void
}

export type Connection = ReturnType<typeof createConnection>

/** Keeps one link open, for as long as it is wanted and the server takes the token. */
export function createConnection(host: ConnectionHost) {
  const { env, tokens } = host
  const timers = createTimers()
  let link: Link | null = null
  let current = 0 // tells apart what belongs to the present link from what came late
  let token: Token
  let greeted = false
  let probing = false
  let waiting = false // for the next try, which may come sooner
  let leaveAt = 0 // when a goaway asks us to go
  let heard = 0
  let silence = 50_000 // ms without a sign of life that are worth a question
  let failures = 0 // since the connection was last stable
  let misses = 0 // sockets in a row that never got a word through
  let streaming = false
  let refusedToken = '' // the server refused it since the connection was last stable
  let renewals = 0 // that failed

  function drop(): void {
    current++
    timers.clear()
    link?.close()
    link = null
    greeted = probing = waiting = false
    leaveAt = 0
  }

  function open(): void {
    drop()
    const mine = current
    timers.set(() => fail(0, 'timeout'), 10_000)
    host.state({ name: 'connecting', attempt: failures })
    tokens
      .get()
      .then((got) => {
        if (mine !== current) return
        if (!got.text || got.text === refusedToken) return refuse(badToken, 'no token')
        token = got
        if (!host.admit(got)) return timers.clear() // another tab has the connection
        const { transport } = host
        streaming = transport === 'sse' || (transport !== 'ws' && (misses > 2 || !env.WebSocket))
        link = (streaming ? openStream : openSocket)(env, got.text, host.cursor(), { message: receive, closed: fail })
      })
      .catch((error) => mine === current && fail(0, String(error)))
  }

  function receive(message: ServerMessage | null): void {
    heard = env.now()
    probing = false
    if (!message) return
    if (message.type === 'hello') {
      timers.clear()
      greeted = true
      misses = streaming ? 2 : 0 // a socket has one more try when the stream ends
      silence = message.ping_s * 2000
      timers.set(() => {
        failures = 0
        refusedToken = ''
      }, 30_000)
      planRenewal()
    }
    if (message.type === 'goaway') {
      leaveAt = env.now() + message.reconnect_ms
      timers.set(open, message.reconnect_ms)
    } else if (message.type === 'ok') {
      if (message.ref) planRenewal()
    } else if (message.type === 'error') {
      if (message.code === 'unauthorized') tokens.refuse(token.text)
      renewSoon()
    } else if (!greeted || !host.receive(message)) return fail(0, 'broken chain')
    if (link) host.state({ name: host.behind() ? 'catching_up' : 'live' })
  }

  // The time of renewal is spread, and comes early enough for a second try.
  function planRenewal(): void {
    const left = token.until - env.now()
    renewals = 0
    timers.set(renew, Math.max(1000, left - Math.min(30_000 + 15_000 * env.random(), left / 2)))
  }

  function renew(): void {
    const mine = current
    tokens.renew().then(
      (next) => {
        if (mine !== current) return
        const sameUser = next.user === token.user
        token = next
        if (link?.send && sameUser) link.send({ type: 'auth', token: next.text, ref: 'auth' })
        else open() // a stream takes its token at the start; another user gets another connection
      },
      () => mine === current && renewSoon(),
    )
  }

  function renewSoon(): void {
    // If that fails too, the server closes when the token ends, and the next one is for a new connection.
    if (renewals++ < 2) timers.set(renew, 5000 * env.random())
  }

  const silent = () => env.now() - heard > silence

  /** Asks whether the other side is still there. */
  function probe(): void {
    if (probing || !link) return
    if (!link.send) {
      if (silent()) fail(0, 'silence')
      return
    }
    probing = true
    const asked = env.now()
    link.send({ type: 'ping' })
    // After a sleep this timer runs before the answer is read that lies in the socket: it gets its turn, and a second if the
    // timer is late.
    timers.set(
      () => timers.set(() => probing && fail(0, 'silence'), env.now() - asked > probeTimeout + 1000 ? 1000 : 0),
      probeTimeout,
    )
  }

  function fail(code: number, reason: string): void {
    const hadBeenOpen = greeted
    const goneAt = leaveAt
    if (link && !hadBeenOpen) {
      if (streaming) misses = 0 // then it isn't the sockets' fault
      else if (!code || code === 1006) misses++
    }
    drop()
    if (code === badToken || code === forbidden) {
      tokens.refuse(token.text)
      if (refusedToken || code === forbidden) return refuse(code, reason)
      refusedToken = token.text
    }
    if (!goneAt) failures++
    const delay = goneAt ? goneAt - env.now() : backoff(failures, code, hadBeenOpen, env.random)
    waiting = !goneAt && code !== tooMany // where the server says when to come back, nothing shortens it
    timers.set(open, delay)
    host.state({ name: 'offline', reason: reason || String(code), attempt: failures, retryAt: env.now() + delay })
  }

  function refuse(code: number, reason: string): void {
    stop()
    host.state({ name: 'refused', reason, code })
  }

  function stop(): void {
    drop()
    refusedToken = ''
  }

  return {
    open,
    /** Without a word to anybody. */
    stop,
    /** Time has passed, or something happened that may have cut the link or brought the network back. */
    check(tick: boolean): void {
      if (greeted) {
        if (!tick || silent()) probe()
      } else if (!tick) {
        misses = 0 // they may have been the network's
        if (waiting) open()
      }
    },
    /** Somebody wants it now. */
    retry: () => (greeted ? probe() : open()),
  }
}
