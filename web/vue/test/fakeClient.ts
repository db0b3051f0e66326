import {
  ApiError,
  type Changes,
  type Client,
  type ClientEvents,
  type ConnectionState,
  type Counts,
  isUnread,
  type ListQuery,
  mergeItems,
  type Notification,
  type Page,
  type Preferences,
} from '@duebell/client'

/** A client whose inbox lies in memory: what a component does shows in `calls`, what a server would say is said by hand. */
export interface FakeClient extends Client {
  calls: string[]
  inbox: Notification[]
  stored: Preferences
  /** The next call of that name rejects. */
  failNext: (call: string) => void
  /** Lists wait until `release()`. */
  hold: () => () => void
  /** New notifications arrive in one frame. */
  arrive: (...parts: Partial<Notification>[]) => Notification[]
  /** As another device or the loan system would. */
  change: (id: string, part: Partial<Notification>) => void
  drop: (id: string) => void
  setState: (state: ConnectionState) => void
  emit: <E extends keyof ClientEvents>(event: E, value: ClientEvents[E]) => void
}

export function createFakeClient(start: Partial<Notification>[] = []): FakeClient {
  const listeners = new Map<string, Set<(value: never) => void>>()
  const calls: string[] = []
  const failing = new Set<string>()
  let rev = 0
  let seenRev = 0
  let state: ConnectionState = { name: 'idle' }
  let held: Promise<void> | null = null
  let inbox: Notification[] = []

  function make(part: Partial<Notification>): Notification {
    rev++
    return {
      id: `n${rev}`,
      kind: 'repayment.upcoming',
      title: `Title ${rev}`,
      body: `Body ${rev}`,
      data: null,
      url: null,
      created_at: new Date(Date.now() - 60_000).toISOString(),
      read_at: null,
      archived_at: null,
      resolved_at: null,
      quiet: false,
      created_rev: rev,
      rev,
      ...part,
    }
  }

  const emit: FakeClient['emit'] = (event, value) => {
    listeners.get(event)?.forEach((listener) => listener(value as never))
  }

  const live = () => inbox.filter((item) => !item.archived_at)
  const counts = (): Counts => ({
    unread: live().filter(isUnread).length,
    unseen: live().filter((item) => item.created_rev > seenRev).length,
    total: live().length,
    rev,
  })

  function tell(part: Partial<Changes>): void {
    emit('changes', { items: [], removed: [], readThrough: null, fresh: [], catchingUp: false, rev, ...part })
    emit('counts', counts())
  }

  function change(id: string, part: Partial<Notification>): void {
    rev++
    const before = inbox.find((item) => item.id === id)
    if (!before) return
    const after = { ...before, ...part, rev }
    inbox = inbox.map((item) => (item.id === id ? after : item))
    tell({ items: [after] })
  }

  function drop(id: string): void {
    rev++
    inbox = inbox.filter((item) => item.id !== id)
    tell({ removed: [id] })
  }

  /** Shows the change, and takes it back if the call is to fail. */
  async function act(call: string, id: string, part: Partial<Notification>): Promise<void> {
    calls.push(`${call} ${id}`)
    const before = inbox.find((item) => item.id === id)
    change(id, part)
    await Promise.resolve()
    if (!failing.delete(call)) return
    if (before) change(id, before)
    throw new ApiError(500, { title: 'no' })
  }

  function answer(query: ListQuery): Page {
    const { status = 'all', kind = [], limit = 20, page = 1, cursor } = query
    const matching = inbox
      .filter((item) => !item.archived_at === (status !== 'archived') && (status !== 'unread' || isUnread(item)))
      .filter((item) => !kind.length || kind.includes(item.kind))
    const all = mergeItems([], { items: matching }, { status })
    const from = cursor ? all.findIndex((item) => item.created_rev < Number(cursor)) : (page - 1) * limit
    const items = from < 0 ? [] : all.slice(from, from + limit)
    const last = items.at(-1)
    const next_cursor = last && last !== all.at(-1) ? String(last.created_rev) : null
    return { items, next_cursor, total: all.length, unread: counts().unread, unseen: counts().unseen, rev }
  }

  const now = () => new Date().toISOString()
  inbox = start.map(make)

  return {
    calls,
    get inbox() {
      return inbox
    },
    stored: {},
    get state() {
      return state
    },
    get counts() {
      return state.name === 'idle' ? null : counts()
    },
    emit,
    change,
    drop,
    failNext: (call) => void failing.add(call),
    hold() {
      let release = () => {}
      held = new Promise((resolve) => (release = resolve))
      return () => {
        held = null
        release()
      }
    },
    arrive(...parts) {
      const items = parts.map((part) => make({ created_at: now(), ...part }))
      inbox = [...inbox, ...items]
      tell({ items, fresh: items })
      return items
    },
    setState(next) {
      state = next
      emit('state', next)
      if (next.name === 'live') emit('counts', counts())
    },
    connect() {
      calls.push('connect')
      this.setState({ name: 'live' })
    },
    disconnect() {
      calls.push('disconnect')
      this.setState({ name: 'idle' })
    },
    retryNow() {
      calls.push('retryNow')
    },
    destroy() {},
    on(event, listener) {
      const all = listeners.get(event) ?? new Set()
      listeners.set(event, all.add(listener as (value: never) => void))
      return () => void all.delete(listener as (value: never) => void)
    },
    subscribe: () => () => {},
    async list(query = {}) {
      const { signal: _, ...rest } = query
      calls.push(`list ${JSON.stringify(rest)}`)
      if (held) await held
      if (failing.delete('list')) throw new Error('no')
      return answer(query)
    },
    read: (id) => act('read', id, { read_at: now() }),
    unread: (id) => act('unread', id, { read_at: null }),
    archive: (id) => act('archive', id, { archived_at: now() }),
    unarchive: (id) => act('unarchive', id, { archived_at: null }),
    async remove(id) {
      calls.push(`remove ${id}`)
      drop(id)
    },
    async readAll(upTo = rev) {
      calls.push(`readAll ${upTo}`)
      rev++
      const read = { read_at: now(), rev }
      inbox = inbox.map((item) => (item.created_rev <= upTo && !item.read_at ? Object.assign({}, item, read) : item))
      tell({ readThrough: upTo })
    },
    async seen(upTo = rev) {
      calls.push('seen')
      seenRev = upTo
      emit('counts', counts())
    },
    async preferences() {
      calls.push('preferences')
      if (failing.delete('preferences')) throw new Error('no')
      return this.stored
    },
    async savePreferences(preferences) {
      calls.push(`save ${JSON.stringify(preferences)}`)
      await Promise.resolve()
      if (failing.delete('save')) throw new Error('no')
      const { kinds, lender } = this.stored // not the person's to change
      return (this.stored = { ...preferences, kinds, lender })
    },
  }
}
