import { afterEach, beforeEach, vi } from 'vitest'
import { createClient } from '../src/index.ts'
import { createFakeServer, type FakePage, type FakeServer } from '../src/testing.ts'
import type { Changes, Client, ClientOptions, ConnectionState, Counts, Notification, TokenReason } from '../src/types.ts'

/** Fake timers for every test of the file. */
export function useFakeTime(): void {
  beforeEach(() => void vi.useFakeTimers({ now: new Date('2026-03-08T09:00:00Z') }))
  afterEach(() => {
    made.splice(0).forEach((client) => client.destroy())
    vi.useRealTimers()
  })
}

const made: Client[] = []

export const pass = (ms = 0) => vi.advanceTimersByTimeAsync(ms)

export interface Setup {
  server: FakeServer
  client: Client
  asked: TokenReason[]
  states: ConnectionState[]
  /** Their names. */
  went: () => string[]
  counts: Counts[]
  changes: Changes[]
  fresh: Notification[]
  resets: () => number
}

export function setup(options: Partial<ClientOptions> = {}, server = createFakeServer(), page?: FakePage): Setup {
  const asked: TokenReason[] = []
  const client = createClient({
    url: server.url,
    getToken(reason) {
      asked.push(reason)
      return server.token()
    },
    fetch: server.fetch,
    WebSocket: server.WebSocket,
    random: () => 0.5,
    storage: null,
    browser: page?.browser ?? {},
    ...options,
  })
  made.push(client)
  const states: ConnectionState[] = []
  const counts: Counts[] = []
  const changes: Changes[] = []
  const fresh: Notification[] = []
  let resets = 0
  client.on('state', (state) => states.push(state))
  client.on('counts', (value) => counts.push(value))
  client.on('changes', (change) => changes.push(change))
  client.on('reset', () => (resets += 1))
  client.subscribe('*', (item) => fresh.push(item))
  return { server, client, asked, states, went: () => states.map((state) => state.name), counts, changes, fresh, resets: () => resets }
}
