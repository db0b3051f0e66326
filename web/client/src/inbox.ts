import type { Emitter } from './emitter.ts'
import { mergeItems, readThrough } from './merge.ts'
import type { ChangesMessage, Cursor, Hello, ServerMessage } from './messages.ts'
import type { Edit, Overlay } from './overlay.ts'
import type { Changes, ClientEvents, Counts, ListQuery, Notification, Page } from './types.ts'

const mostKept = 1000 // notifications

/** What one tab tells another of the inbox. */
export type Reached = Cursor & Counts

/** Counts as REST and frames have them. */
export type CountFields = Omit<Counts, 'total'> & { total?: number | undefined }

export interface InboxHost {
  events: Emitter<ClientEvents>
  overlay: Overlay
  /** Whether what comes happened while there was no connection. */
  catchingUp: () => boolean
  /** For each new notification, once. */
  announce: (item: Notification) => void
}

export type Inbox = ReturnType<typeof createInbox>

/** What is known of the inbox: the chain of frames, the counts, and the last notifications that passed by. */
export function createInbox({ events, overlay, catchingUp, announce }: InboxHost) {
  let user = ''
  let cursor: Cursor | null = null
  let start = 0 // the frames since this rev are known without a gap
  let since = 0 // what was created up to this rev is nothing new
  let target = 0 // the rev at which what was missed has all come; Infinity: a reset will say
  let generation = 0 // of the inbox's history: a reset starts another
  let shownRev = 0 // the newest that a list or frame has brought
  let server: Counts | null = null
  let shown: Counts | null = null
  let shownText = ''
  const known = new Map<string, Notification>()
  const announced = new Map<string, number>() // created_rev by id
  const journal: Changes[] = [] // kept while lists are on their way
  let lists = 0

  function startAt({ epoch, rev }: Cursor): Cursor {
    start = since = rev
    shownRev = Math.max(shownRev, rev)
    announced.clear()
    return (cursor = { epoch, rev })
  }

  function remember(items: readonly Notification[]): void {
    for (const item of items) {
      if ((known.get(item.id)?.rev ?? 0) > item.rev) continue
      known.delete(item.id) // to the end
      known.set(item.id, item)
    }
    trim(known)
  }

  function fresh(items: readonly Notification[]): Notification[] {
    const found = items.filter((item) => item.created_rev > since && !announced.has(item.id))
    for (const item of found) announced.set(item.id, item.created_rev)
    // Those that are forgotten here mustn't be new again.
    trim(announced, (rev) => (since = Math.max(since, rev)))
    return found
  }

  function takeCounts(counts: CountFields): void {
    if (server && counts.rev < server.rev) return
    const { unread, unseen, rev, total = server?.total ?? 0 } = counts
    server = { unread, unseen, total, rev }
  }

  /** Tells of what there is to tell, as it looks to the person. */
  function tell(change: Changes): void {
    const items = overlay.items(change.items)
    const removed = change.removed.concat(change.items.filter((item) => !overlay.item(item)).map((item) => item.id))
    if (items.length || removed.length || change.readThrough) {
      events.emit('changes', { ...change, items, removed, fresh: overlay.items(change.fresh) })
    }
    showCounts()
  }

  function showCounts(): void {
    if (!server) return
    const next = overlay.counts(server, known.values())
    const text = [next.unread, next.unseen, next.total].join()
    shown = next
    if (text === shownText) return
    shownText = text
    events.emit('counts', next)
  }

  function hello(message: Hello): boolean {
    if (user && user !== message.user) {
      forget()
      return false // the cursor was another person's
    }
    user = message.user
    const at = cursor ?? startAt(message)
    at.epoch ||= message.epoch
    const same = at.epoch === message.epoch
    target = same && at.rev <= message.rev ? message.rev : Infinity
    if (same) takeCounts(message)
    showCounts()
    return true
  }

  function changes(message: ChangesMessage, relayed: boolean): boolean {
    if (!cursor || (relayed && message.rev < cursor.rev)) return relayed
    if (relayed ? message.from > cursor.rev : message.from !== cursor.rev) return false
    const { items = [], removed = [], read_through = null, rev } = message
    const found = fresh(items)
    const change = { items, removed, readThrough: read_through, fresh: found, catchingUp: catchingUp(), rev }
    for (const item of known.values()) known.set(item.id, readThrough(item, change))
    remember(items)
    for (const id of removed) known.delete(id)
    if (lists) journal.push(change)
    cursor.rev = rev
    shownRev = Math.max(shownRev, rev)
    overlay.settle(rev)
    takeCounts(message)
    tell(change)
    found.forEach(announce)
    return true
  }

  /** Another history: nothing of the present one can be compared with it. */
  function begin(): void {
    generation++
    server = null
    target = shownRev = 0
    known.clear()
    overlay.settle(Infinity)
  }

  function reset(at: Cursor & CountFields): void {
    begin()
    startAt(at)
    takeCounts(at)
    showCounts()
    events.emit('reset', undefined)
  }

  /** Another person's inbox, from the next connection on. */
  function forget(): void {
    begin()
    user = ''
    cursor = shown = null
    shownText = ''
    start = 0
    events.emit('reset', undefined)
  }

  /** A page that is older than what was shown, or of another history, is fetched again. */
  async function list(query: ListQuery, fetchPage: () => Promise<Page>): Promise<Page> {
    lists++
    try {
      for (let tries = 1; ; tries++) {
        const history = generation
        const first = journal.length
        const reached = cursor?.rev ?? 0
        const page = await fetchPage()
        const stale = history !== generation || page.rev < Math.max(start, reached)
        if (!stale || tries === 3) return complete(page, query, journal.slice(first))
      }
    } finally {
      if (!--lists) journal.length = 0
    }
  }

  /** Adds to a page what happened while it was on its way. */
  function complete(page: Page, query: ListQuery, frames: Changes[]): Page {
    remember(page.items)
    takeCounts(query.kind?.length || (query.status ?? 'all') !== 'all' ? { ...page, total: undefined } : page)
    shownRev = Math.max(shownRev, page.rev)
    cursor ??= startAt({ epoch: '', rev: page.rev })
    const ids = new Set(page.items.map((item) => item.id))
    const filter = { ...query, more: page.next_cursor !== null }
    let items = frames.reduce((list, frame) => mergeItems(list, frame, filter), page.items)
    if (query.cursor || (query.page ?? 1) > 1) items = items.filter((item) => ids.has(item.id)) // new ones belong on the first
    showCounts()
    return {
      ...page,
      items: overlay.items(items),
      total: page.total + items.length - page.items.length,
      rev: Math.max(page.rev, frames.at(-1)?.rev ?? 0),
    }
  }

  return {
    list,
    forget,
    known,
    /** Tells how these look now, and of the counts. */
    show: (which: Edit['covers']) =>
      tell({ items: [...known.values()].filter(which), removed: [], readThrough: null, fresh: [], catchingUp: false, rev: shownRev }),
    /** Answers what takes the answer to an edit, with the counts after it; without any it has met nothing. */
    answering(edit: Edit) {
      const history = generation
      return (counts?: CountFields): void => {
        if (history !== generation) return overlay.drop(edit)
        edit.rev = counts?.rev ?? Infinity
        if (counts) takeCounts(counts)
        showCounts()
      }
    },
    counts: () => shown,
    shownRev: () => shownRev,
    cursor: () => cursor,
    /** What was missed hasn't all come yet. */
    behind: () => !cursor || cursor.rev < target,

    /** Where an earlier page of this app stopped. What a list has brought since doesn't move the start: nothing may be missed. */
    resume(at: Cursor | undefined): void {
      if (at?.epoch && at.rev >= 0 && (!cursor || (!cursor.epoch && at.rev < cursor.rev))) startAt(at)
    },

    /** Takes a frame; false if it isn't the next one of the chain. From another tab (relayed) it may overlap with what is here. */
    receive(message: ServerMessage, relayed = false): boolean {
      if (message.type === 'hello') return hello(message)
      if (message.type === 'changes') return changes(message, relayed)
      if (message.type === 'reset') reset(message)
      return true
    },

    reached: (): Reached | null => cursor && server && { ...server, ...cursor },

    /** Goes on from where another tab is; false if frames are missing in between. */
    adopt(at: Reached): boolean {
      const own = cursor && (cursor.epoch || cursor.rev < at.rev) ? cursor : startAt(at)
      own.epoch ||= at.epoch
      if (own.epoch !== at.epoch) reset(at)
      takeCounts(at)
      showCounts()
      return own.rev >= at.rev || own !== cursor
    },
  }
}

/** Lets go of the oldest entries. */
function trim<V>(map: Map<string, V>, leaving?: (value: V) => void): void {
  for (const [key, value] of map) {
    if (map.size <= mostKept) return
    map.delete(key)
    leaving?.(value)
  }
}
