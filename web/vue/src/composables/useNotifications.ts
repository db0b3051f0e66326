import { isUnread, type Notification } from '@duebell/client'
import {
  computed,
  type ComputedRef,
  type MaybeRefOrGetter,
  onScopeDispose,
  ref,
  type Ref,
  shallowRef,
  type ShallowRef,
  toValue,
  watch,
} from 'vue'
import { useContext } from '../context.ts'
import { type Countdown, createCountdown } from '../countdown.ts'
import { change, emptyList, extend, type Filter, listOf, release } from '../list.ts'
import { pageCount } from '../pages.ts'

/** What can be taken back for a while. */
export interface Undoable {
  what: 'readAll' | 'archive'
  count: number
  run: () => Promise<unknown>
}

/** What a person can do to a notification. */
export type Mark = 'markRead' | 'markUnread' | 'archive' | 'unarchive'

export interface UseNotificationsOptions {
  status?: MaybeRefOrGetter<'all' | 'unread' | 'archived'>
  /** Only these; empty: every kind. */
  kinds?: MaybeRefOrGetter<readonly string[]>
  /** How many a page or piece has: 1 to 100. */
  limit?: number
  /** Numbered pages instead of an endless list. */
  pages?: boolean
  /** Loads at once; else `load()` does. */
  immediate?: boolean
  /** Asked when new ones come: whether the reader is in the middle of the list, so that they must wait in `newCount`. */
  hold?: () => boolean
}

export interface UseNotifications {
  items: ComputedRef<readonly Notification[]>
  /** What is on its way: the list, the next piece of it, or nothing. */
  loading: Readonly<Ref<'' | 'list' | 'more'>>
  /** There was an answer for this filter. */
  loaded: Readonly<Ref<boolean>>
  /** Why the list couldn't be loaded. */
  error: Readonly<Ref<unknown>>
  /** The last thing that the reader did was refused and taken back. */
  failed: Ref<boolean>
  /** How many there are under the filter, live. */
  total: ComputedRef<number>
  /** How many are unread in all. */
  unread: ComputedRef<number>
  more: ComputedRef<boolean>
  /** From 1; 0 in an endless list. */
  page: Readonly<Ref<number>>
  pages: ComputedRef<number>
  /** How many wait above the list. */
  newCount: ComputedRef<number>
  showNew: () => Promise<void>
  load: () => Promise<void>
  loadMore: () => Promise<void>
  goTo: (page: number) => Promise<void>
  markRead: (id: string) => Promise<void>
  markUnread: (id: string) => Promise<void>
  /** Can be taken back by `undo`. */
  archive: (id: string) => Promise<void>
  unarchive: (id: string) => Promise<void>
  remove: (id: string) => Promise<void>
  /** All but those that wait above the list. Can be taken back by `undo`, unless `readAllIsFinal`. */
  readAll: () => Promise<void>
  /** There are too many to take it back one by one: ask before. */
  readAllIsFinal: ComputedRef<boolean>
  /** The list was looked at: the badge goes. */
  seen: () => Promise<void>
  /** What `undo` would take back; it goes after a while. */
  undoable: Readonly<ShallowRef<Undoable | null>>
  undo: () => Promise<void>
  /** `hold` while the reader is at the button for it. */
  undoTime: Pick<Countdown, 'hold' | 'release'>
}

/** A read-all is taken back by a call for each. */
const mostUndone = 100

/** In ms. */
const undoableFor = 8000

/** Pages that lost a row or whose total only the server knows are asked for again so long after the last change, in ms. */
const settleTime = 400

/** A person's list, kept live: what arrives, is read, archived or removed anywhere shows here. */
export function useNotifications(options: UseNotificationsOptions = {}): UseNotifications {
  const context = useContext()
  const { client, counts } = context
  const limit = options.limit ?? 20
  const list = shallowRef(emptyList)
  const page = ref(options.pages ? 1 : 0)
  const loading = ref<'' | 'list' | 'more'>('')
  const loaded = ref(false)
  const error = shallowRef<unknown>(null)
  const failed = ref(false)
  const serverTotal = ref(0)
  const undoable = shallowRef<Undoable | null>(null)
  const undoTime = createCountdown(undoableFor, () => (undoable.value = null))
  let wanted = false
  let request: AbortController | undefined
  let settling: ReturnType<typeof setTimeout> | undefined

  const filter = (): Filter => ({
    status: toValue(options.status) ?? 'all',
    kind: [...(toValue(options.kinds) ?? [])],
    limit,
    page: page.value,
  })

  /** The counts that every frame brings know it, unless the filter is finer. */
  const total = computed(() => {
    const { status, kind } = filter()
    if (counts.value && !kind.length && status !== 'archived')
      return counts.value[status === 'all' ? 'total' : 'unread']
    return serverTotal.value
  })
  const pages = computed(() => pageCount(total.value, limit))
  const unread = computed(() => counts.value?.unread ?? 0)

  function ask(extra: { cursor?: string; limit?: number }, signal: AbortSignal) {
    const { status, kind } = filter()
    return client.list({ status, kind, limit, signal, ...(page.value && { page: page.value }), ...extra })
  }

  function cancel(): AbortSignal {
    clearTimeout(settling)
    request?.abort()
    request = new AbortController()
    return request.signal
  }

  async function fetchList(part: 'list' | 'more'): Promise<void> {
    wanted = true
    const signal = cancel()
    loading.value = part
    try {
      const { cursor } = list.value
      const answer = await ask(part === 'more' && cursor ? { cursor } : {}, signal)
      if (signal.aborted) return
      serverTotal.value = answer.total
      list.value = part === 'more' ? extend(list.value, answer, filter()) : listOf(answer)
      loaded.value = true
      error.value = null
    } catch (reason) {
      if (!signal.aborted) error.value = reason
    } finally {
      if (!signal.aborted) loading.value = ''
    }
  }

  /** Without a word: the total, and on a numbered page the rows that moved up. */
  async function settle(): Promise<void> {
    if (loading.value) return
    const signal = cancel()
    try {
      const answer = await ask(page.value ? {} : { limit: 1 }, signal)
      if (signal.aborted) return
      serverTotal.value = answer.total
      if (page.value) list.value = extend(list.value, answer, filter())
    } catch {
      // The next change asks again.
    }
  }

  function clear(): void {
    cancel()
    list.value = emptyList
    loading.value = ''
    loaded.value = false
    error.value = null
    serverTotal.value = 0
  }

  const load = () => fetchList('list')

  async function goTo(to: number): Promise<void> {
    page.value = Math.max(1, Math.min(to, pages.value))
    await load()
  }

  async function showNew(): Promise<void> {
    if (page.value > 1) await goTo(1)
    else list.value = release(list.value, filter())
  }

  async function attempt(action: () => Promise<unknown>): Promise<void> {
    failed.value = false
    try {
      await action()
    } catch {
      failed.value = true
    }
  }

  /** Which ones a read-all would read; null if they are too many to take it back. */
  async function unreadIds(upTo: number): Promise<string[] | null> {
    const covered = (items: readonly Notification[]) =>
      items.filter((item) => isUnread(item) && item.created_rev <= upTo).map(({ id }) => id)
    const shown = covered(list.value.items)
    if (shown.length + list.value.held.length >= unread.value) return shown
    if (unread.value > mostUndone) return null
    return covered((await client.list({ status: 'unread', limit: mostUndone })).items)
  }

  function offer(what: Undoable['what'], count: number, run: () => Promise<unknown>): void {
    undoable.value = { what, count, run }
    undoTime.start()
  }

  async function undo(): Promise<void> {
    const taken = undoable.value
    undoable.value = null
    undoTime.stop()
    if (taken) await attempt(taken.run)
  }

  const readAll = () =>
    attempt(async () => {
      const oldestHeld = list.value.held.at(-1)
      const upTo = oldestHeld && oldestHeld.created_rev - 1
      const ids = await unreadIds(upTo ?? Infinity)
      await client.readAll(upTo)
      if (ids?.length) offer('readAll', ids.length, () => Promise.all(ids.map((id) => client.unread(id))))
    })

  const archive = (id: string) =>
    attempt(async () => {
      await client.archive(id)
      offer('archive', 1, () => client.unarchive(id))
    })

  const ends = [
    context.onChanges((changes) => {
      if (!loaded.value) return
      const asked = filter()
      list.value = change(list.value, changes, asked, options.hold?.() ?? false)
      const lacks = asked.page > 0 && list.value.more && list.value.items.length < limit
      if (!lacks && !asked.kind.length && asked.status !== 'archived') return
      clearTimeout(settling)
      settling = setTimeout(settle, settleTime)
    }),
    context.onReset((gone) => {
      if (gone) clear()
      if (wanted && !gone) void load()
    }),
    watch(context.state, ({ name }) => {
      if (name === 'live' && wanted && (error.value || !loaded.value) && !loading.value) void load()
    }),
    watch([() => toValue(options.status), () => toValue(options.kinds)?.join()], () => {
      clear()
      if (page.value) page.value = 1
      void load()
    }),
    watch(pages, (last) => {
      if (page.value > last && loaded.value) void goTo(last)
    }),
    cancel,
    undoTime.stop,
  ]
  onScopeDispose(() => ends.forEach((end) => void end()))
  if ((options.immediate ?? true) && typeof window !== 'undefined') void load()

  return {
    items: computed(() => list.value.items),
    loading,
    loaded,
    error,
    failed,
    total,
    unread,
    more: computed(() => list.value.more),
    page,
    pages,
    newCount: computed(() => list.value.held.length),
    showNew,
    load,
    loadMore: () => (loading.value ? Promise.resolve() : fetchList('more')),
    goTo,
    markRead: (id) => attempt(() => client.read(id)),
    markUnread: (id) => attempt(() => client.unread(id)),
    archive,
    unarchive: (id) => attempt(() => client.unarchive(id)),
    remove: (id) => attempt(() => client.remove(id)),
    readAll,
    readAllIsFinal: computed(() => unread.value > mostUndone),
    seen: () => (counts.value?.unseen ? attempt(() => client.seen()) : Promise.resolve()),
    undoable,
    undo,
    undoTime,
  }
}
