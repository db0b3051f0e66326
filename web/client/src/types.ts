/** What a notification is about: `repayment.upcoming`, `application.status_changed`, … */
export type Kind = string

/** A notification as the server has it. Times are RFC 3339. */
export interface Notification {
  id: string
  kind: Kind
  title: string
  body: string
  data: Record<string, unknown> | null
  url: string | null
  created_at: string
  read_at: string | null
  archived_at: string | null
  /** The reason of a reminder is gone: paid, rescheduled. It stays in the list and is no longer unread. */
  resolved_at: string | null
  /** Arrived in the person's quiet hours: show it without toast or sound. */
  quiet: boolean
  created_rev: number
  rev: number
}

/** Absolute counts of the inbox at a rev. What `Client.counts` shows never goes back to an older rev. */
export interface Counts {
  unread: number
  unseen: number
  /** Without archived ones. */
  total: number
  rev: number
}

/**
 * Where the connection is. `attempt` counts the tries that failed since it was last stable, `retryAt` is in ms since 1970
 * (null: nothing is planned). `refused` is the end until `connect()` or `retryNow()`.
 */
export type ConnectionState =
  | { name: 'idle' }
  | { name: 'connecting'; attempt: number }
  | { name: 'live' }
  | { name: 'catching_up' }
  | { name: 'offline'; reason: string; attempt: number; retryAt: number | null }
  | { name: 'refused'; reason: string; code: number }

/** What changed, at once or by a frame. `mergeItems` puts it into a list. */
export interface Changes {
  /** Whole notifications: each takes the place of the one with its id. */
  items: Notification[]
  /** Ids that are gone. */
  removed: string[]
  /** Everything created up to this rev is read. */
  readThrough: number | null
  /** Those of `items` that this client hears of for the first time, each once. Quiet, read and resolved ones are among them. */
  fresh: Notification[]
  /** They happened while there was no connection. */
  catchingUp: boolean
  /** The rev that this reaches. */
  rev: number
}

export interface ListQuery {
  limit?: number
  /** `next_cursor` of the page before; for endless lists. */
  cursor?: string
  /** From 1; for numbered pages. */
  page?: number
  status?: 'all' | 'unread' | 'archived'
  kind?: Kind[]
  signal?: AbortSignal
}

/** A page of the list, newest first. It contains every change that was told of before it arrived. */
export interface Page {
  items: Notification[]
  next_cursor: string | null
  /** Of the filter. */
  total: number
  unread: number
  unseen: number
  rev: number
}

/** What the person wants to hear. Null and what is left out is as the lender has it. A PUT replaces all of it. */
export interface Preferences {
  /** By kind; a kind or channel that is left out is on. */
  channels?: Record<Kind, { push?: boolean; email?: boolean }>
  quiet_hours?: { from: string; to: string } | null
  /** No quiet hours, whatever the lender has. */
  no_quiet_hours?: boolean
  time_zone?: string | null
  locale?: string | null
  digest?: 'off' | 'daily' | 'weekly' | null
  // What the lender has decided. A PUT that carries it changes nothing about it.
  /** The kinds that Duebell writes to this person, in the order in which to show them. */
  readonly kinds?: readonly LenderKind[]
  readonly lender?: LenderDefaults
}

/** What the lender's policy says of a kind. */
export interface LenderKind {
  kind: Kind
  /** When it goes out: days from the due date, negative before it. Empty: when something happens. */
  offsets: number[]
  /** Where it can't be switched off. */
  mandatory: ('push' | 'email')[]
}

/** What holds where the person has said nothing. */
export interface LenderDefaults {
  quiet_hours: { from: string; to: string } | null
  /** IANA. */
  time_zone: string
  /** BCP 47. */
  locale: string
  /** When reminders go out by the person's clock, `09:00`; null while none do. */
  send_at: string | null
}

/** Why a token is asked for: to connect or call, to renew it in time, or because the server refused the last one. */
export type TokenReason = 'connect' | 'renew' | 'refused'

export interface ClientOptions {
  /** Base of the pusher (http or https); relative to the page if it has no host. */
  url: string
  /**
   * Answers the user's JWT. It is asked again before the token ends and once after the server refused it; answer a new one
   * then. An empty string means that nobody is logged in. A rejection is tried again later.
   */
  getToken: (reason: TokenReason) => Promise<string> | string
  /** Whose cursor and tabs these are, where the token has no `sub`. */
  userKey?: string
  /** Keeps the cursor across reloads; localStorage unless null. */
  storage?: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'> | null
  /** `auto`: one connection for all tabs of the user, where the browser has Web Locks. */
  crossTab?: 'auto' | 'off'
  /** `auto`: WebSocket, and Server-Sent Events where upgrades fail again and again. */
  transport?: 'auto' | 'ws' | 'sse'
  fetch?: typeof fetch
  WebSocket?: typeof WebSocket
  /** ms since 1970. */
  now?: () => number
  /** From 0 to 1. */
  random?: () => number
  /** In place of the browser's own parts (globalThis). */
  browser?: Browser
}

/** What a page gives to the client, as far as it exists. */
export interface Browser {
  navigator?: { locks?: Pick<LockManager, 'request'> }
  BroadcastChannel?: new (name: string) => Channel
  document?: { readonly visibilityState: DocumentVisibilityState }
  location?: { readonly href: string }
  localStorage?: Storage
  WebSocket?: typeof WebSocket
  addEventListener?: EventTarget['addEventListener']
}

export interface Channel {
  onmessage: ((event: MessageEvent) => unknown) | null
  postMessage(message: unknown): void
  close(): void
}

export interface ClientEvents {
  state: ConnectionState
  counts: Counts
  changes: Changes
  /** Too much was missed, or the inbox is another one: fetch the first page again. */
  reset: void
}

export interface Client {
  readonly state: ConnectionState
  readonly counts: Counts | null
  connect(): void
  disconnect(): void
  /** Tries at once instead of at `retryAt`; also after `refused`. */
  retryNow(): void
  /** Disconnects and forgets all listeners. */
  destroy(): void
  /** Answers the function that ends it. */
  on<E extends keyof ClientEvents>(event: E, listener: (value: ClientEvents[E]) => void): () => void
  /** New notifications of a kind, or of all (`*`), each once. */
  subscribe(kind: Kind, listener: (notification: Notification) => void): () => void
  list(query?: ListQuery): Promise<Page>
  // These show at once (`changes`, `counts`), are undone if the server refuses, and then reject with an ApiError.
  read(id: string): Promise<void>
  unread(id: string): Promise<void>
  archive(id: string): Promise<void>
  unarchive(id: string): Promise<void>
  remove(id: string): Promise<void>
  /** What was created after `upToRev` (the newest rev that was shown) stays unread. */
  readAll(upToRev?: number): Promise<void>
  seen(upToRev?: number): Promise<void>
  preferences(): Promise<Preferences>
  savePreferences(preferences: Preferences): Promise<Preferences>
}
