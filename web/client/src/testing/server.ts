import type { FieldError } from '../api.ts'
import type { ClientMessage, Cursor, ServerMessage } from '../messages.ts'
import type { LenderDefaults, LenderKind, ListQuery, Notification, Preferences } from '../types.ts'
import { FakeInbox } from './inbox.ts'
import { FakeSocket } from './socket.ts'
import { fakeToken } from './token.ts'

export interface FakeServerOptions {
  user?: string
  epoch?: string
  /** Rows a frame while catching up. */
  pageSize?: number
}

export type FakeServer = ReturnType<typeof createFakeServer>

/** A call of the inbox API, to be answered in another way. */
export interface FakeRequest {
  method: string
  path: string
  token: string
  body: unknown
}

/** The built-in policy, as far as people see it. */
const kinds: LenderKind[] = [
  { kind: 'repayment.upcoming', offsets: [-7, -3, -1], mandatory: [] },
  { kind: 'repayment.due_today', offsets: [0], mandatory: [] },
  { kind: 'repayment.overdue', offsets: [1, 7, 15, 30], mandatory: [] },
  { kind: 'repayment.rescheduled', offsets: [], mandatory: [] },
  { kind: 'application.status_changed', offsets: [], mandatory: [] },
]
const lender: LenderDefaults = {
  quiet_hours: { from: '21:00', to: '08:00' },
  time_zone: 'Europe/Prague',
  locale: 'en',
  send_at: '09:00',
}

/**
 * A pusher without a network. Hand `fetch` and `WebSocket` to createClient. What is written to its inbox goes out as frames; the
 * switches below make it fail. Everything happens in microtasks, so with fake timers an `advanceTimersByTimeAsync(0)` is enough.
 */
export function createFakeServer({ user = 'u1', epoch = 'e1', pageSize = 100 }: FakeServerOptions = {}) {
  const inbox = new FakeInbox(epoch)
  const sockets: FakeSocket[] = []
  const badTokens = new Set<string>()
  let held: { which: (request: FakeRequest) => boolean; waiting: (() => void)[] } | null = null
  let preferences: Preferences = {}

  const server = {
    url: 'http://duebell.test',
    user,
    inbox,
    /** All connections that there ever were; `open` says which are. */
    sockets,
    /** Tokens that are refused with 401 and 4401. */
    badTokens,
    /** False: nothing gets through. */
    reachable: true,
    /** False: WebSockets fail, as behind a proxy that doesn't know them. */
    upgrades: true,
    /** Open connections get no answer, and new ones none either. */
    silent: false,
    /** Each handshake is refused so. */
    refuse: null as { code: number; reason: string } | null,
    /** What the lender has decided, as preferences show it. */
    kinds,
    lender,
    /** Sends hello and what was missed. Off, a test does that itself. */
    greets: true,
    requests: [] as FakeRequest[],
    /** Answers a call in place of the server: a status, an error to reject with, or nothing. */
    intercept: null as ((request: FakeRequest) => number | Error | void) | null,

    token: (ttl?: number) => fakeToken({ user: server.user, ...(ttl !== undefined && { ttl }) }),
    open: () => sockets.filter((socket) => socket.open),
    /** The newest connection. */
    socket(): FakeSocket {
      const last = sockets.at(-1)
      if (!last) throw new Error('nobody has connected yet')
      return last
    },
    notify: (fields?: Partial<Notification>) => inbox.add(fields),
    /** To all that are connected. */
    send: (message: ServerMessage) => server.open().forEach((socket) => socket.send(message)),
    close: (code?: number, reason?: string) => server.open().forEach((socket) => socket.close(code, reason)),
    /** Answers of calls, or of some, are held back until the answered function runs: they are of the time of the call. */
    hold(which: (request: FakeRequest) => boolean = () => true): () => void {
      const mine = { which, waiting: [] as (() => void)[] }
      held = mine
      return () => {
        if (held === mine) held = null
        mine.waiting.forEach((go) => go())
      }
    },
    hello: (): ServerMessage => ({ type: 'hello', user: server.user, epoch: inbox.epoch, ...inbox.counts(), ping_s: 25 }),
    fetch: fakeFetch as typeof fetch,
    WebSocket: undefined as unknown as typeof WebSocket,
  }

  inbox.changed = (message) => server.send(message)

  function greet(socket: FakeSocket): void {
    if (!server.greets) return
    socket.send(server.hello())
    if (socket.cursor) for (const message of inbox.catchUp(socket.cursor, pageSize)) socket.send(message)
  }

  /** Why a handshake is refused; null if it isn't. */
  function refusal(token: string): { code: number; reason: string } | null {
    if (badTokens.has(token)) return { code: 4401, reason: 'the token was refused' }
    return server.refuse
  }

  function answer(socket: FakeSocket, message: ClientMessage): void {
    socket.received.push(message)
    const ref = message.ref ? { ref: message.ref } : {}
    if (message.type === 'auth' && badTokens.has(message.token)) {
      return socket.send({ type: 'error', ...ref, code: 'unauthorized', message: 'the token was refused' })
    }
    if (message.type === 'read') for (const id of message.ids) inbox.edit(id, { read_at: new Date().toISOString() })
    if (message.type === 'read_all') inbox.readAll(message.up_to_rev)
    if (message.type === 'seen') inbox.seen(message.up_to_rev)
    if (message.ref || message.type === 'ping') socket.send({ type: 'ok', ...ref })
  }

  server.WebSocket = class extends EventTarget {
    static readonly OPEN = 1
    onmessage: ((event: MessageEvent) => void) | null = null
    onclose: ((event: CloseEvent) => void) | null = null
    readyState = 0
    private socket: FakeSocket | null = null

    constructor(url: string | URL, protocols: string[]) {
      super()
      const token = protocols[1]?.replace('bearer.', '') ?? ''
      queueMicrotask(() => {
        if (this.readyState !== 0 || server.silent) return
        if (!server.reachable || !server.upgrades) return this.closed(1006, '')
        const refused = refusal(token)
        if (refused) return this.closed(refused.code, refused.reason)
        this.readyState = 1
        this.socket = new FakeSocket('ws', token, cursorOf(new URL(url)), {
          message: (message) =>
            queueMicrotask(() => this.onmessage?.({ data: JSON.stringify(message) } as MessageEvent)),
          close: (code, reason) => this.closed(code, reason),
        })
        sockets.push(this.socket)
        greet(this.socket)
      })
    }

    private closed(code: number, reason: string): void {
      this.readyState = 3
      queueMicrotask(() => this.onclose?.({ code, reason } as CloseEvent))
    }

    send(data: string): void {
      const { socket } = this
      if (this.readyState !== 1 || !socket) throw new Error('the socket is not open')
      if (!server.silent && !socket.silent) queueMicrotask(() => answer(socket, JSON.parse(data)))
    }

    close(): void {
      this.readyState = 3
      if (this.socket) this.socket.open = false
    }
  } as unknown as typeof WebSocket

  async function fakeFetch(input: RequestInfo | URL, init: RequestInit = {}): Promise<Response> {
    const url = new URL(String(input))
    const headers = new Headers(init.headers)
    const request: FakeRequest = {
      method: init.method ?? 'GET',
      path: url.pathname + url.search,
      token: (headers.get('Authorization') ?? '').replace('Bearer ', ''),
      body: init.body ? JSON.parse(String(init.body)) : undefined,
    }
    server.requests.push(request)
    const { signal } = init
    const aborted = new Promise<never>((_, reject) => {
      if (signal?.aborted) reject(signal.reason)
      signal?.addEventListener('abort', () => reject(signal.reason))
    })
    aborted.catch(() => {})
    if (server.silent) return aborted
    await Promise.resolve()
    if (!server.reachable) throw new TypeError('Failed to fetch')
    const other = server.intercept?.(request)
    if (other instanceof Error) throw other
    if (typeof other === 'number') return problem(other, 'other', 'as the test wants it')
    if (badTokens.has(request.token) || !request.token) return problem(401, 'unauthorized', 'the token was refused')
    if (url.pathname === '/v1/stream') return stream(request.token, headers, signal)
    const response = api(request, url)
    if (held?.which(request)) await Promise.race([aborted, new Promise<void>((resolve) => held?.waiting.push(resolve))])
    return response
  }

  function stream(token: string, headers: Headers, signal: AbortSignal | null | undefined): Response {
    if (server.refuse) return problem(server.refuse.code - 4000, 'refused', server.refuse.reason)
    const id = headers.get('Last-Event-ID')
    const dot = id?.lastIndexOf('.') ?? 0
    const cursor = id ? { epoch: id.slice(0, dot), rev: Number(id.slice(dot + 1)) } : null
    const encoder = new TextEncoder()
    let write: (text: string) => void = () => {}
    let end: () => void = () => {}
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        write = (text) => controller.enqueue(encoder.encode(text))
        end = () => controller.close()
      },
    })
    const socket = new FakeSocket('sse', token, cursor, {
      beat: () => write(':\n\n'),
      message: (message) => write(`id: ${inbox.epoch}.${inbox.rev}\ndata: ${JSON.stringify(message)}\n\n`),
      close: (code, reason) => {
        if (code !== 1006) write(`event: close\ndata: ${JSON.stringify({ code, reason })}\n\n`)
        end()
      },
    })
    signal?.addEventListener('abort', () => {
      if (socket.open) end()
      socket.open = false
    })
    sockets.push(socket)
    greet(socket)
    return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } })
  }

  /** What is mandatory shows as on, whatever was stored before it was. */
  function getPreferences(): Response {
    const channels = { ...preferences.channels }
    for (const { kind, mandatory } of server.kinds) {
      for (const channel of mandatory) if (channels[kind]) channels[kind] = { ...channels[kind], [channel]: true }
    }
    return Response.json({ ...preferences, channels, kinds: server.kinds, lender: server.lender })
  }

  function putPreferences(wish: Preferences): Response {
    const errors = server.kinds.flatMap(({ kind, mandatory }) =>
      mandatory
        .filter((channel) => wish.channels?.[kind]?.[channel] === false)
        .map((channel) => ({ field: `channels.${kind}.${channel}`, message: 'the lender always sends this' })),
    )
    if (errors.length) return problem(422, 'invalid', '', errors)
    const { kinds: _, lender: __, ...own } = wish
    preferences = own
    return getPreferences()
  }

  function api({ method, path, body }: FakeRequest, url: URL): Response {
    const call = `${method} ${url.pathname}`
    const { up_to_rev } = (body ?? {}) as { up_to_rev?: number }
    if (call === 'GET /v1/notifications') return Response.json(inbox.list(queryOf(url)))
    if (url.pathname === '/v1/preferences') return method === 'PUT' ? putPreferences(body as Preferences) : getPreferences()
    if (call === 'POST /v1/notifications/read-all') inbox.readAll(up_to_rev)
    else if (call === 'POST /v1/notifications/seen') inbox.seen(up_to_rev)
    else if (call !== 'GET /v1/notifications/unread-count') {
      const [, id = '', action] = /^\/v1\/notifications\/([^/?]+)(?:\/(\w+))?/.exec(path) ?? []
      const now = new Date().toISOString()
      const found =
        method === 'DELETE'
          ? inbox.remove(decodeURIComponent(id))
          : inbox.edit(decodeURIComponent(id), {
              ...(action === 'read' && { read_at: now }),
              ...(action === 'unread' && { read_at: null }),
              ...(action === 'archive' && { archived_at: now }),
              ...(action === 'unarchive' && { archived_at: null }),
            })
      if (!found) return problem(404, 'not_found', 'no such notification')
    }
    const { unread, unseen, rev } = inbox.counts()
    return Response.json({ unread, unseen, rev })
  }

  return server
}

function cursorOf(url: URL): Cursor | null {
  const rev = url.searchParams.get('rev')
  return rev === null ? null : { epoch: url.searchParams.get('epoch') ?? '', rev: Number(rev) }
}

function queryOf({ searchParams }: URL): ListQuery {
  const number = (name: string) => (searchParams.has(name) ? { [name]: Number(searchParams.get(name)) } : {})
  return {
    ...number('limit'),
    ...number('page'),
    ...(searchParams.has('cursor') && { cursor: searchParams.get('cursor') ?? '' }),
    status: (searchParams.get('status') ?? 'all') as NonNullable<ListQuery['status']>,
    kind: searchParams.getAll('kind'),
  }
}

function problem(status: number, code: string, detail: string, errors?: FieldError[]): Response {
  return Response.json({ type: 'about:blank', title: code, status, code, detail, errors }, { status })
}
