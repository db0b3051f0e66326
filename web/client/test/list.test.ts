import { describe, expect, it } from 'vitest'
import { mergeItems } from '../src/index.ts'
import { createFakeServer } from '../src/testing.ts'
import type { Notification } from '../src/types.ts'
import { pass, setup, useFakeTime } from './setup.ts'

useFakeTime()

const ids = (items: readonly Notification[]) => items.map((item) => item.id).join(' ')

describe('a list', () => {
  it('that is opened in the middle of a catch-up shows each item once, in its newest state', async () => {
    const server = createFakeServer({ pageSize: 10 })
    const { client, changes } = setup({}, server)
    client.connect()
    await pass()
    server.close()
    for (let i = 0; i < 35; i++) server.notify()
    server.inbox.edit('n35', { read_at: 'now' })
    server.greets = false
    await pass(250)
    const socket = server.socket()
    socket.send(server.hello())
    socket.send(server.inbox.catchUp(socket.cursor!, 10)[0]!)
    await pass()
    const release = server.hold()
    const opened = client.list({ limit: 20 })
    await pass()
    socket.silent = true // the server reads these with the rest of what was missed
    server.inbox.remove('n34')
    server.inbox.edit('n33', { read_at: 'now' })
    server.notify()
    socket.silent = false
    server.inbox.catchUp({ epoch: 'e1', rev: 10 }, 10).forEach((frame) => socket.send(frame))
    await pass()
    release()
    let { items } = await opened
    expect(ids(items).split(' ')).toEqual(['n36', 'n35', ...Array.from({ length: 18 }, (_, i) => `n${33 - i}`)])
    expect(items.find((item) => item.id === 'n33')?.read_at).toBe('now')
    for (const change of changes) items = mergeItems(items, change, { more: true })
    expect(new Set(items.map((item) => item.id)).size).toBe(items.length)
    expect(ids(items)).toBe(ids(server.inbox.list({ limit: 20 }).items))
  })

  it('contains what was told of while it was on its way: new, changed, removed, all read', async () => {
    const { client, server } = setup()
    for (let i = 0; i < 5; i++) server.notify()
    client.connect()
    await pass()
    const release = server.hold()
    const all = client.list()
    const second = client.list({ limit: 2, page: 2 })
    const unread = client.list({ status: 'unread' })
    const other = client.list({ kind: ['loan.closed'] })
    await pass()
    server.inbox.readAll()
    server.inbox.edit('n2', { archived_at: 'now' })
    server.inbox.remove('n3')
    server.notify()
    await pass()
    release()
    expect(await all).toMatchObject({ rev: 9, total: 4 })
    expect((await all).items.map((item) => [item.id, !!item.read_at])).toEqual([
      ['n6', false],
      ['n5', true],
      ['n4', true],
      ['n1', true],
    ])
    expect(ids((await second).items)).toBe('')
    expect(ids((await unread).items)).toBe('n6 n5 n4 n1')
    expect(ids((await other).items)).toBe('')
  })

  it('that is older than what is shown is fetched again', async () => {
    const { client, server } = setup()
    server.notify()
    const release = server.hold()
    const early = client.list()
    await pass()
    server.notify()
    client.connect() // from the present: the frame of n2 never comes
    await pass()
    release()
    expect(ids((await early).items)).toBe('n2 n1')
  })

  it('does not show again what is being removed or read', async () => {
    const { client, server } = setup()
    server.notify()
    server.notify()
    client.connect()
    await pass()
    await client.list()
    const before = client.list()
    const done = [client.remove('n1'), client.read('n2')]
    const { items } = await before
    expect(ids(items)).toBe('n2')
    expect(items[0]?.read_at).toBeTruthy()
    await Promise.all(done)
  })

  it('shows what was done while it was on its way, though no frame has told of it yet', async () => {
    const { client, server } = setup()
    server.notify()
    client.connect()
    await pass()
    await client.list()
    const release = server.hold(({ method }) => method === 'GET')
    const late = client.list() // of before
    await pass()
    server.socket().silent = true
    await client.read('n1')
    release()
    expect((await late).items[0]?.read_at).toBeTruthy()
    expect(client.counts?.unread).toBe(0)
  })

  it('asks for what it is asked for, and for nothing else', async () => {
    const { client, server } = setup()
    await client.list({ limit: 5, page: 2, status: 'unread', kind: ['a', 'b'], cursor: undefined })
    expect(server.requests.at(-1)?.path).toBe('/v1/notifications?limit=5&page=2&status=unread&kind=a&kind=b')
  })

  it('can be given up', async () => {
    const { client, server } = setup()
    server.hold()
    const end = new AbortController()
    const asked = client.list({ signal: end.signal })
    await pass()
    end.abort()
    await expect(asked).rejects.toMatchObject({ name: 'AbortError' })
  })
})

describe('mergeItems', () => {
  const item = (n: number, fields: Partial<Notification> = {}): Notification => ({
    id: `n${n}`,
    kind: 'k',
    title: '',
    body: '',
    data: null,
    url: null,
    created_at: '',
    read_at: null,
    archived_at: null,
    resolved_at: null,
    quiet: false,
    created_rev: n,
    rev: n,
    ...fields,
  })

  it('keeps the newest rev of each, newest first, in whatever order they come', () => {
    const list = [item(3), item(1)]
    expect(ids(mergeItems(list, { items: [item(2), item(4)] }))).toBe('n4 n3 n2 n1')
    const newer = mergeItems(list, { items: [item(3, { rev: 7, title: 'new' })] })
    expect(mergeItems(newer, { items: [item(3)] })).toEqual(newer)
    expect(mergeItems(newer, { items: [item(3, { rev: 7, title: 'undone' })] })[0]?.title).toBe('undone')
    expect(ids(list)).toBe('n3 n1')
  })

  it('leaves out what is older than a list that goes on', () => {
    expect(ids(mergeItems([item(9), item(5)], { items: [item(3), item(7)] }, { more: true }))).toBe('n9 n7 n5')
    expect(ids(mergeItems([item(9), item(5)], { items: [item(3), item(7)] }))).toBe('n9 n7 n5 n3')
    expect(ids(mergeItems([], { items: [item(3)] }, { more: true }))).toBe('n3')
  })

  it('keeps to the filter, but takes nothing from an unread list that was read in it', () => {
    const read = item(2, { read_at: 'now', rev: 9 })
    expect(ids(mergeItems([item(3), item(2)], { items: [read, item(4, { read_at: 'now' })] }, { status: 'unread' }))).toBe('n3 n2')
    expect(ids(mergeItems([item(1)], { items: [item(2, { resolved_at: 'now' })] }, { status: 'unread' }))).toBe('n1')
    expect(ids(mergeItems([item(1)], { items: [item(1, { archived_at: 'now' }), item(2)] }))).toBe('n2')
    expect(ids(mergeItems([], { items: [item(1, { archived_at: 'now' }), item(2)] }, { status: 'archived' }))).toBe('n1')
    expect(ids(mergeItems([item(1, { archived_at: 'now' })], { items: [item(1)] }, { status: 'archived' }))).toBe('')
    expect(ids(mergeItems([], { items: [item(1), item(2, { kind: 'x' })] }, { kind: ['x', 'y'] }))).toBe('n2')
  })

  it('applies a read-all to what it covers and not to what was made unread after it', () => {
    const list = [item(4), item(2, { rev: 6 }), item(1)]
    expect(mergeItems(list, { readThrough: 3, rev: 5 }).map((one) => !!one.read_at)).toEqual([false, false, true])
  })
})
