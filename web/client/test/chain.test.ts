import { describe, expect, it } from 'vitest'
import { createFakeBrowser, createFakeServer } from '../src/testing.ts'
import { pass, setup, useFakeTime } from './setup.ts'

useFakeTime()

describe('the chain of frames', () => {
  it('tells of each change and of new notifications by kind, once', async () => {
    const { client, server, changes } = setup()
    const seen: string[] = []
    const end = client.subscribe('application.status_changed', (item) => seen.push(item.id))
    client.connect()
    await pass()
    server.notify({ kind: 'application.status_changed' })
    server.notify({ kind: 'repayment.due_today', quiet: true })
    server.inbox.edit('n1', { read_at: 'now' })
    server.inbox.remove('n2')
    server.inbox.readAll()
    await pass()
    expect(seen).toEqual(['n1'])
    expect(changes.map(({ items, removed, fresh }) => [items.map((item) => item.id), removed, fresh.map((item) => item.id)])).toEqual([
      [['n1'], [], ['n1']],
      [['n2'], [], ['n2']],
      [['n1'], [], []],
      [[], ['n2'], []],
    ])
    end()
    server.notify({ kind: 'application.status_changed' })
    await pass()
    expect(seen).toEqual(['n1'])
  })

  it('resumes from the cursor after a break, and knows what happened meanwhile', async () => {
    const { client, server, changes, fresh, went } = setup()
    client.connect()
    await pass()
    server.notify()
    await pass()
    server.close()
    server.notify()
    server.inbox.edit('n1', { read_at: 'now' })
    server.inbox.remove('n1')
    server.notify()
    await pass(250)
    expect(server.socket().cursor).toEqual({ epoch: 'e1', rev: 1 })
    expect(changes.at(-1)).toMatchObject({ catchingUp: true, removed: ['n1'], rev: 5 })
    expect(fresh.map((item) => item.id)).toEqual(['n1', 'n2', 'n3'])
    expect(went()).toEqual(['connecting', 'live', 'offline', 'connecting', 'catching_up', 'live'])
    server.notify()
    await pass()
    expect(changes.at(-1)).toMatchObject({ catchingUp: false, rev: 6 })
  })

  it('that breaks makes it come back from the cursor, whatever was lost', async () => {
    const { client, server, states, fresh } = setup()
    client.connect()
    await pass()
    server.notify()
    await pass()
    const { sent } = server.socket()
    server.socket().silent = true
    server.notify()
    server.socket().silent = false
    server.notify()
    await pass()
    expect(sent).toHaveLength(3)
    expect(states.at(-1)).toMatchObject({ name: 'offline', reason: 'broken chain', attempt: 1 })
    await pass(250)
    expect(server.socket().cursor).toEqual({ epoch: 'e1', rev: 1 })
    expect(fresh.map((item) => item.id)).toEqual(['n1', 'n2', 'n3'])
  })

  it('never begins with changes', async () => {
    const { client, server, states, changes } = setup()
    server.greets = false
    client.connect()
    await pass()
    server.notify()
    await pass()
    expect(states.at(-1)).toMatchObject({ name: 'offline', reason: 'broken chain' })
    expect(changes).toHaveLength(0)
  })

  it('passes over messages that this version does not know', async () => {
    const { client, server, fresh } = setup()
    client.connect()
    await pass()
    server.send({ type: 'weather', sun: true } as never)
    server.notify()
    await pass()
    expect(client.state.name).toBe('live')
    expect(fresh).toHaveLength(1)
  })

  it('folded into pages of a hundred, and cut inside a rev, brings each new notification once', async () => {
    const server = createFakeServer({ pageSize: 10 })
    const { client, fresh, changes } = setup({}, server)
    client.connect()
    await pass()
    server.close()
    for (let i = 0; i < 45; i++) server.notify()
    server.inbox.edit('n1', { read_at: 'now' }) // its row moves to the end, behind where the cursor will have been
    server.inbox.edit('n30', { resolved_at: 'now' })
    server.inbox.readAll() // 44 rows get one rev
    server.notify()
    await pass(250)
    expect(server.socket().sent.filter((m) => m.type === 'changes' && m.from === m.rev).length).toBeGreaterThan(2)
    expect(client.state.name).toBe('live')
    expect(new Set(fresh.map((item) => item.id)).size).toBe(46)
    expect(fresh).toHaveLength(46)
    expect(changes.every((change) => change.catchingUp)).toBe(true)
  })

  it('forgets at some time which ones it told of, and does not take those for new', async () => {
    const { client, server, fresh } = setup()
    client.connect()
    await pass()
    for (let i = 0; i < 2500; i++) server.notify()
    await pass()
    expect(fresh).toHaveLength(2500)
    server.inbox.edit('n3', { read_at: 'now' })
    server.inbox.edit('n2400', { read_at: 'now' })
    server.notify()
    await pass()
    expect(fresh).toHaveLength(2501)
  })

  it('interrupted while catching up goes on where it was, and tells of nothing twice', async () => {
    const server = createFakeServer({ pageSize: 10 })
    const { client, fresh } = setup({}, server)
    client.connect()
    await pass()
    server.close()
    for (let i = 0; i < 45; i++) server.notify()
    server.inbox.edit('n1', { read_at: 'now' })
    server.greets = false
    await pass(250)
    const socket = server.socket()
    socket.send(server.hello())
    const frames = server.inbox.catchUp(socket.cursor!, 10)
    frames.slice(0, 2).forEach((frame) => socket.send(frame))
    await pass()
    expect(client.state.name).toBe('catching_up')
    socket.close()
    server.greets = true
    await pass(500)
    expect(client.state.name).toBe('live')
    expect(server.socket().cursor?.rev).toBe(21)
    expect(fresh.map((item) => item.id).sort()).toEqual(server.inbox.list({ limit: 100 }).items.map((item) => item.id).sort())
  })

  it('starts anew after a reset, of which the app is told', async () => {
    const { client, server, resets, counts, fresh } = setup()
    client.connect()
    await pass()
    server.close()
    for (let i = 0; i < 5; i++) server.notify()
    server.inbox.floor = 5
    await pass(250)
    expect(resets()).toBe(1)
    expect(counts.at(-1)).toEqual({ unread: 5, unseen: 5, total: 5, rev: 5 })
    expect(fresh).toHaveLength(0)
    expect(client.state.name).toBe('live')
    server.notify()
    await pass()
    expect(fresh.map((item) => item.id)).toEqual(['n6'])
  })

  it('of a database that was restored is another one, though its revs and counts are lower', async () => {
    const { client, server, resets, counts } = setup()
    client.connect()
    await pass()
    for (let i = 0; i < 9; i++) server.notify()
    await pass()
    expect(counts.at(-1)).toMatchObject({ unread: 9, rev: 9 })
    server.close()
    const before = createFakeServer({ epoch: 'e2' })
    before.notify()
    before.notify()
    Object.assign(server.inbox, { epoch: 'e2', rev: 2, items: before.inbox.items })
    await pass(250)
    expect(resets()).toBe(1)
    expect(client.counts).toEqual({ unread: 2, unseen: 2, total: 2, rev: 2 })
  })

  it('of another person is not mixed with this one, though the token does not name them', async () => {
    const { client, server, resets } = setup({ getToken: () => 'opaque' })
    client.connect()
    await pass()
    server.notify()
    await pass()
    server.user = 'u2'
    server.close()
    await pass(60_000)
    expect(client.state.name).toBe('live')
    expect(resets()).toBe(1)
    expect(server.socket().cursor).toBeNull()
  })
})

describe('the cursor', () => {
  const storage = () => createFakeBrowser().open().browser.localStorage!

  it('is kept across reloads, so that what came in between is told of as new', async () => {
    const kept = storage()
    const first = setup({ storage: kept })
    first.client.connect()
    await pass()
    first.server.notify()
    await pass()
    first.client.destroy()
    first.server.notify()
    const second = setup({ storage: kept }, first.server)
    second.client.connect()
    await pass()
    expect(first.server.socket().cursor).toEqual({ epoch: 'e1', rev: 1 })
    expect(second.fresh.map((item) => item.id)).toEqual(['n2'])
    expect(second.changes[0]?.catchingUp).toBe(true)
  })

  it('is kept only when everything up to it has come', async () => {
    const kept = storage()
    const server = createFakeServer({ pageSize: 10 })
    const first = setup({ storage: kept }, server)
    first.client.connect()
    await pass()
    server.close()
    for (let i = 0; i < 30; i++) server.notify()
    server.greets = false
    await pass(250)
    server.socket().send(server.hello())
    server.socket().send(server.inbox.catchUp({ epoch: 'e1', rev: 0 }, 10)[0]!)
    await pass()
    expect(first.client.state.name).toBe('catching_up')
    first.client.destroy()
    server.greets = true
    const second = setup({ storage: kept }, server)
    second.client.connect()
    await pass()
    expect(second.fresh).toHaveLength(30)
  })

  it('is one for each person and server', async () => {
    const kept = storage()
    const first = setup({ storage: kept })
    first.client.connect()
    await pass()
    first.server.notify()
    await pass()
    first.client.destroy()
    const other = setup({ storage: kept }, createFakeServer({ user: 'u2' }))
    other.client.connect()
    await pass()
    expect(other.server.socket().cursor).toBeNull()
    const elsewhere = setup({ storage: kept, url: 'http://duebell.test/other' })
    elsewhere.client.connect()
    await pass()
    expect(elsewhere.server.socket().cursor).toBeNull()
  })

  it('starts at what a list has brought before the connection: nothing between them is missed', async () => {
    const { client, server, changes } = setup()
    server.notify()
    const page = await client.list()
    expect(page.rev).toBe(1)
    server.notify()
    client.connect()
    await pass()
    expect(server.socket().cursor).toEqual({ epoch: '', rev: 1 })
    expect(changes.flatMap((change) => change.items).map((item) => item.id)).toEqual(['n2'])
  })

  it('that was kept wins over a list that came before the connection, so that what is new is told of', async () => {
    const kept = storage()
    const first = setup({ storage: kept })
    first.client.connect()
    await pass()
    first.server.notify()
    await pass()
    first.client.destroy()
    first.server.notify()
    const second = setup({ storage: kept }, first.server)
    await second.client.list()
    second.client.connect()
    await pass()
    expect(first.server.socket().cursor).toEqual({ epoch: 'e1', rev: 1 })
    expect(second.fresh.map((item) => item.id)).toEqual(['n2'])
  })

  it('survives a storage that throws, is full, or holds rubbish', async () => {
    for (const broken of [
      { getItem: () => '{"rev":-1,"epoch":3}', setItem: () => {}, removeItem: () => {} },
      { getItem: () => 'rubbish', setItem: () => {}, removeItem: () => {} },
      {
        getItem: () => {
          throw new Error('blocked')
        },
        setItem: () => {
          throw new Error('full')
        },
        removeItem: () => {},
      },
    ]) {
      const { client, server, fresh } = setup({ storage: broken })
      client.connect()
      await pass()
      expect(server.socket().cursor).toBeNull()
      server.notify()
      await pass()
      expect(fresh).toHaveLength(1)
    }
  })
})
