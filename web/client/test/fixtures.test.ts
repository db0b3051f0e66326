import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { ClientMessage, ServerMessage } from '../src/messages.ts'
import type { Changes } from '../src/types.ts'
import { pass, setup, useFakeTime } from './setup.ts'

useFakeTime()

// The messages that the Go tests read and write too.
const folder = new URL('../../../delivery/testdata/', import.meta.url)
const fixture = <M extends ServerMessage | ClientMessage>(name: string): M =>
  JSON.parse(readFileSync(new URL(`${name}.json`, folder), 'utf8'))

const fromServer = ['hello', 'changes_items', 'changes_updated', 'changes_removed', 'changes_read_through', 'changes_counts', 'changes_partial', 'reset', 'ok', 'error', 'goaway']
const fromClient = ['auth', 'ping', 'read', 'read_all', 'seen']

describe('the shared message fixtures', () => {
  it('are all known here', () => {
    const names = readdirSync(folder).filter((name) => name.endsWith('.json')).map((name) => name.replace('.json', ''))
    expect(names.sort()).toEqual([...fromServer, ...fromClient].sort())
  })

  it('are understood as one conversation', async () => {
    const { client, server, changes, counts, resets, states } = setup()
    server.greets = false
    client.connect()
    await pass()
    const socket = server.socket()
    const messages = fromServer.map((name) => fixture<ServerMessage>(name))
    messages.forEach((message) => socket.send(message))
    await pass()
    const id = '06f3n8zq2m1k9v7x5c4b3a2w1e'
    const short = ({ items, removed, readThrough, fresh, rev }: Changes) => ({ items: items.length, removed, readThrough, fresh: fresh.length, rev })
    expect(changes.map(short)).toEqual([
      { items: 1, removed: [], readThrough: null, fresh: 1, rev: 43 },
      { items: 1, removed: [], readThrough: null, fresh: 0, rev: 44 },
      { items: 0, removed: [id], readThrough: null, fresh: 0, rev: 45 },
      { items: 0, removed: [], readThrough: 45, fresh: 0, rev: 46 },
      { items: 1, removed: [], readThrough: null, fresh: 1, rev: 47 },
    ])
    expect(changes[0]?.items[0]).toEqual((fixture<ServerMessage & { type: 'changes' }>('changes_items').items ?? [])[0])
    expect(counts.map(({ unread, rev }) => [unread, rev])).toEqual([[3, 42], [4, 43], [3, 44], [3, 45], [0, 46], [0, 47], [2, 47], [7, 9000]])
    expect(resets()).toBe(1)
    expect(states.at(-1)?.name).toBe('live')
    await pass(1830)
    expect(server.socket().cursor).toEqual({ epoch: 'k3', rev: 9000 })
  })

  it('say in the same way what the client says', async () => {
    const { client, server } = setup({ getToken: () => server.token(600) })
    client.connect()
    await pass(570_000)
    const sent = server.sockets.flatMap((socket) => socket.received)
    for (const name of ['ping', 'auth'] as const) {
      const own = sent.find(({ type }) => type === name)
      expect(own).toBeDefined()
      const shared = fixture<ClientMessage>(name)
      for (const [field, value] of Object.entries(own ?? {})) {
        expect(shared).toHaveProperty(field)
        expect(typeof value).toBe(typeof shared[field as keyof ClientMessage])
      }
    }
  })
})
