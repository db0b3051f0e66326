import { createActions } from './actions.ts'
import { createApi } from './api.ts'
import { createConnection } from './connection.ts'
import { keepCursor } from './keep_cursor.ts'
import { createEmitter } from './emitter.ts'
import { createEnvironment } from './environment.ts'
import { createInbox } from './inbox.ts'
import { createOverlay } from './overlay.ts'
import { joinTabs, type Tabs } from './tabs.ts'
import { createTokens, type Token } from './token.ts'
import type { Client, ClientEvents, ClientOptions, ConnectionState, Kind, ListQuery, Notification, Page, Preferences } from './types.ts'
import { watchPage } from './wake.ts'

/** Makes a client, which does nothing until connect() or a call. It may be made on a server too, to be hydrated in the browser. */
export function createClient(options: ClientOptions): Client {
  const env = createEnvironment(options)
  const tokens = createTokens(options.getToken, env.now)
  const api = createApi(env, tokens)
  const events = createEmitter<ClientEvents>()
  const kinds = createEmitter<Record<Kind, Notification>>()
  const overlay = createOverlay()
  let state: ConnectionState = { name: 'idle' }
  let key = '' // of the person's cursor and tabs
  let tabs: Tabs | null = null
  let unwatch: (() => void) | null = null // while a connection is wanted
  let asleep = false

  const inbox = createInbox({
    events,
    overlay,
    catchingUp: () => state.name === 'catching_up',
    announce(item) {
      for (const kind of [item.kind, '*']) kinds.emit(kind, item)
    },
  })
  const actions = createActions(api, inbox, overlay)
  const connection = createConnection({
    env,
    tokens,
    transport: options.transport,
    admit,
    cursor: inbox.cursor,
    receive(message) {
      if (!inbox.receive(message)) return false
      if (message.type !== 'hello') tabs?.relay(message)
      // Only now: what was missed comes again after a reload that interrupts it.
      if (key && !inbox.behind()) keepCursor(env, key, inbox.cursor())
      return true
    },
    behind: inbox.behind,
    state: setState,
  })

  function setState(next: ConnectionState): void {
    if (JSON.stringify(next) === JSON.stringify(state)) return
    state = next
    tabs?.tell()
    events.emit('state', next)
  }

  /** A connection belongs to a person, and where tabs can agree on one, to the tab that leads. */
  function admit(token: Token): boolean {
    const { browser } = env
    const person = options.userKey ?? token.user
    const whose = person ? `duebell:${env.address('')}:${person}` : ''
    if (whose !== key) {
      leaveTabs()
      if (key) inbox.forget()
      key = whose
    }
    const locks = browser.navigator?.locks
    if (key && options.crossTab !== 'off' && locks && browser.BroadcastChannel) {
      tabs ??= joinTabs(key, locks, new browser.BroadcastChannel(key), browser, {
        lead: connection.open,
        follow: connection.stop,
        status: () => ({ state, reached: inbox.reached() }),
        heard({ state: theirs, reached }) {
          if (reached && !inbox.adopt(reached)) tabs?.steal() // the server knows what we miss
          else setState(theirs)
        },
        received(message) {
          if (!inbox.receive(message, true)) tabs?.steal()
        },
      })
      if (!tabs.leading()) return false
    }
    if (key) inbox.resume(keepCursor(env, key))
    return true
  }

  function leaveTabs(): void {
    tabs?.leave()
    tabs = null
  }

  function wake(tick: boolean): void {
    if (asleep) {
      if (!tick) retryNow()
    } else if (tabs && !tabs.leading()) tabs.ask()
    else connection.check(tick)
  }

  function sleep(): void {
    if (state.name === 'refused') return
    asleep = true
    halt({ name: 'offline', reason: 'asleep', attempt: 0, retryAt: null })
  }

  function connect(): void {
    if (unwatch && state.name !== 'refused') return
    unwatch ??= watchPage(env, { wake, sleep })
    retryNow()
  }

  function retryNow(): void {
    if (!unwatch) return
    asleep = false
    if (!tabs || tabs.leading()) connection.retry()
    else if (state.name !== 'live') tabs.steal()
  }

  function disconnect(): void {
    unwatch?.()
    unwatch = null
    halt({ name: 'idle' })
  }

  function halt(then: ConnectionState): void {
    connection.stop()
    leaveTabs()
    setState(then)
  }

  return {
    get state() {
      return state
    },
    get counts() {
      return inbox.counts()
    },
    connect,
    disconnect,
    retryNow,
    destroy() {
      disconnect()
      events.clear()
      kinds.clear()
    },
    on: events.on,
    subscribe: kinds.on,
    list(query = {}) {
      return inbox.list(query, () => api<Page>('GET', `v1/notifications?${searchOf(query)}`, undefined, query.signal))
    },
    ...actions,
    preferences: () => api<Preferences>('GET', 'v1/preferences'),
    savePreferences: (preferences) => api<Preferences>('PUT', 'v1/preferences', preferences),
  }
}

function searchOf(query: ListQuery): URLSearchParams {
  const pairs = Object.entries({ ...query, signal: [] }).flatMap(([name, value]) =>
    [value ?? []].flat().map((one) => [name, String(one)]),
  )
  return new URLSearchParams(pairs)
}
