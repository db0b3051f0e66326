import { describe, expect, it } from 'vitest'
import { mergeItems } from '../src/index.ts'
import type { Client, Notification } from '../src/types.ts'
import { pass, setup, useFakeTime } from './setup.ts'

useFakeTime()

/** A connected client with three notifications in its list, kept as a view does it. */
async function three() {
  const made = setup()
  for (let i = 0; i < 3; i++) made.server.notify()
  made.client.connect()
  await pass()
  let list: Notification[] = (await made.client.list()).items
  made.client.on('changes', (change) => (list = mergeItems(list, change)))
  const look = () => list.map((item) => `${item.id}${item.read_at ? '' : '*'}`).join(' ')
  return { ...made, look }
}

type One = 'read' | 'unread' | 'archive' | 'unarchive' | 'remove'

describe('what a person does', () => {
  it('shows at once and is what the server has in the end', async () => {
    const { client, server, look, counts } = await three()
    const release = server.hold()
    const done = client.read('n2')
    expect(look()).toBe('n3* n2 n1*')
    expect(client.counts).toMatchObject({ unread: 2, total: 3 })
    await pass()
    release()
    await done
    expect(look()).toBe('n3* n2 n1*')
    expect(client.counts).toMatchObject({ unread: 2, rev: 4 })
    expect(counts.map((value) => value.unread)).toEqual([3, 2])
    await client.unread('n2')
    expect(look()).toBe('n3* n2* n1*')
    await client.archive('n3')
    expect(look()).toBe('n2* n1*')
    expect(client.counts).toMatchObject({ unread: 2, total: 2 })
    await client.remove('n1')
    expect(look()).toBe('n2*')
    await pass()
    expect(client.counts).toEqual(server.inbox.counts())
  })

  for (const action of ['read', 'archive', 'remove'] as One[]) {
    it(`${action} is undone where the server fails, and rejects`, async () => {
      const { client, server, look, counts } = await three()
      server.intercept = ({ method }) => (method === 'GET' ? undefined : 503)
      const done = client[action]('n2')
      expect(look()).not.toBe('n3* n2* n1*')
      await expect(done).rejects.toMatchObject({ name: 'ApiError', status: 503, code: 'other' })
      expect(look()).toBe('n3* n2* n1*')
      expect(client.counts).toMatchObject({ unread: 3, total: 3 })
      expect(counts.map((value) => value.unread)).toEqual([3, 2, 3])
    })
  }

  it('rejects with status 0 where the server is not reached', async () => {
    const { client, server, look } = await three()
    server.reachable = false
    await expect(client.read('n1')).rejects.toMatchObject({ status: 0, code: 'unreachable' })
    expect(look()).toBe('n3* n2* n1*')
  })

  it('is undone to what the server has by then, not to what was there before', async () => {
    const { client, server, look } = await three()
    server.intercept = ({ method }) => (method === 'GET' ? undefined : 500)
    const done = client.archive('n2')
    server.inbox.edit('n2', { read_at: 'now' }) // on another device
    await expect(done).rejects.toThrow()
    await pass()
    expect(look()).toBe('n3* n2 n1*')
  })

  it('is not shown undone by a frame that left the server before it was done', async () => {
    const { client, server, look, counts } = await three()
    const release = server.hold()
    const looks: string[] = []
    client.on('changes', () => looks.push(look()))
    const done = client.read('n2')
    server.send({ type: 'changes', from: 3, rev: 4, unread: 3, unseen: 3, total: 3, items: [{ ...server.inbox.items.get('n2')!, quiet: true, rev: 4 }] })
    server.inbox.rev = 4
    await pass()
    release()
    await done
    await pass()
    expect(new Set(looks)).toEqual(new Set(['n3* n2 n1*']))
    expect(counts.map((value) => value.unread)).toEqual([3, 2])
  })

  it('shows counts that never jump back while several things are under way', async () => {
    const { client, server, counts } = await three()
    const release = server.hold()
    const done = [client.read('n1'), client.read('n2'), client.read('n3')]
    expect(client.counts?.unread).toBe(0)
    release()
    await Promise.all(done)
    await pass()
    expect(counts.map((value) => value.unread)).toEqual([3, 2, 1, 0])
  })

  it('happens in the order in which it was asked for', async () => {
    const { client, server, look } = await three()
    await Promise.all([client.read('n1'), client.unread('n1'), client.read('n1'), client.archive('n2'), client.unarchive('n2')])
    await pass()
    expect(look()).toBe('n3* n2* n1')
    expect(server.requests.filter(({ method }) => method === 'POST').map(({ path }) => path.split('/').slice(3).join(' '))).toEqual([
      'n1 read',
      'n1 unread',
      'n1 read',
      'n2 archive',
      'n2 unarchive',
    ])
  })

  it('waits until the server has done what was asked for before', async () => {
    const { client, server } = await three()
    const release = server.hold()
    const done = [client.read('n1'), client.unread('n1')]
    const posts = () => server.requests.filter(({ method }) => method === 'POST').length
    await pass()
    expect(posts()).toBe(1)
    release()
    await Promise.all(done)
    expect(posts()).toBe(2)
  })

  it('goes on after one that failed', async () => {
    const { client, server, look } = await three()
    server.intercept = ({ path }) => (path.includes('n1/') ? 500 : undefined)
    const [first, second] = await Promise.allSettled([client.read('n1'), client.read('n2')])
    expect([first.status, second.status]).toEqual(['rejected', 'fulfilled'])
    expect(look()).toBe('n3* n2 n1*')
  })

  it('with something that another device has removed takes it out of the list', async () => {
    const { client, server, look } = await three()
    server.socket().silent = true // the frame is late
    server.inbox.remove('n2')
    await expect(client.read('n2')).rejects.toMatchObject({ status: 404 })
    expect(look()).toBe('n3* n1*')
    server.inbox.remove('n1')
    await expect(client.remove('n1')).resolves.toBeUndefined()
    expect(look()).toBe('n3*')
  })

  it('with something that was never seen only changes the counts', async () => {
    const { client, server, changes } = setup()
    server.notify()
    client.connect()
    await pass()
    await client.read('n1')
    expect(client.counts).toMatchObject({ unread: 0 })
    await pass()
    expect(changes).toHaveLength(1) // the frame
  })

  it('read all covers what was shown, and leaves unread what came meanwhile', async () => {
    const { client, server, look, counts } = await three()
    const release = server.hold()
    const done = client.readAll()
    expect(look()).toBe('n3 n2 n1')
    expect(client.counts?.unread).toBe(0)
    server.notify()
    await pass()
    expect(look()).toBe('n4* n3 n2 n1')
    expect(client.counts?.unread).toBe(1)
    release()
    await done
    await pass()
    expect(server.requests.at(-1)?.body).toEqual({ up_to_rev: 3 })
    expect(look()).toBe('n4* n3 n2 n1')
    expect(counts.map((value) => value.unread)).not.toContain(4)
    expect(client.counts).toEqual(server.inbox.counts())
  })

  it('read all is undone where the server fails', async () => {
    const { client, server, look } = await three()
    await client.read('n2')
    server.intercept = () => 500
    const done = client.readAll()
    expect(look()).toBe('n3 n2 n1')
    await expect(done).rejects.toMatchObject({ status: 500 })
    expect(look()).toBe('n3* n2 n1*')
    expect(client.counts?.unread).toBe(2)
  })

  it('seen empties the badge and leaves what is unread', async () => {
    const { client, server } = await three()
    expect(client.counts).toMatchObject({ unseen: 3 })
    const done = client.seen()
    expect(client.counts).toMatchObject({ unseen: 0, unread: 3 })
    await done
    await pass()
    expect(client.counts).toEqual(server.inbox.counts())
    server.intercept = () => 500
    server.notify()
    await pass()
    await expect(client.seen()).rejects.toThrow()
    expect(client.counts).toMatchObject({ unseen: 1 })
  })

  it('works without a connection', async () => {
    const { client, server } = setup()
    server.notify()
    server.notify()
    let list = (await client.list()).items
    client.on('changes', (change) => (list = mergeItems(list, change)))
    await client.read('n1')
    expect(client.counts).toMatchObject({ unread: 1, rev: 3 })
    expect((await client.list()).items.map((item) => !!item.read_at)).toEqual([false, true])
    await client.unread('n1')
    expect(client.counts).toMatchObject({ unread: 2 })
    expect(list.map((item) => !!item.read_at)).toEqual([false, false])
  })
})

describe('counts', () => {
  async function late(client: Client, run: () => Promise<unknown>, meanwhile: () => void, release: () => void) {
    const done = run()
    await pass()
    meanwhile()
    await pass()
    const before = client.counts
    release()
    await done
    return before
  }

  it('of a call that arrive late never overwrite newer ones', async () => {
    const { client, server, counts } = await three()
    const release = server.hold()
    const before = await late(client, () => client.list(), () => server.notify(), release)
    expect(before).toMatchObject({ unread: 4, rev: 4 })
    expect(client.counts).toEqual(before)
    expect(counts.map((value) => value.unread)).toEqual([3, 4])
  })

  it('of a call that was asked for before a reset are of another history', async () => {
    const { client, server } = await three()
    await client.list()
    const release = server.hold()
    const done = client.read('n1')
    await pass()
    Object.assign(server.inbox, { epoch: 'e2', rev: 1, items: new Map([...server.inbox.items].slice(0, 1)) })
    server.send({ type: 'reset', epoch: 'e2', ...server.inbox.counts() })
    await pass()
    release()
    await done
    expect(client.counts?.rev).toBe(1)
  })

  it('are told of only when they change', async () => {
    const { client, server, counts } = await three()
    server.inbox.edit('n1', { quiet: true })
    await client.list()
    await pass()
    expect(counts).toHaveLength(1)
    expect(client.counts?.rev).toBe(4)
  })
})

describe('preferences', () => {
  it('are fetched and replaced', async () => {
    const { client, server } = setup()
    const saved = await client.savePreferences({ channels: { 'repayment.upcoming': { email: false } }, time_zone: 'Europe/Prague' })
    expect(await client.preferences()).toEqual(saved)
    expect(saved.lender).toEqual({ quiet_hours: { from: '21:00', to: '08:00' }, time_zone: 'Europe/Prague', locale: 'en', send_at: '09:00' })
    expect(await client.savePreferences(saved)).toEqual(saved)
    server.intercept = () => 422
    await expect(client.savePreferences({})).rejects.toMatchObject({ status: 422, message: 'as the test wants it' })
  })

  it('that switch off what is mandatory are refused, and what was switched off before shows as on', async () => {
    const { client, server } = setup()
    const off = { channels: { 'repayment.overdue': { push: false, email: false } } }
    await client.savePreferences(off)
    server.kinds = [{ kind: 'repayment.overdue', offsets: [1], mandatory: ['push'] }]
    const now = await client.preferences()
    expect([now.kinds, now.channels]).toEqual([server.kinds, { 'repayment.overdue': { push: true, email: false } }])
    await expect(client.savePreferences({ ...off, digest: 'daily' })).rejects.toMatchObject({
      status: 422,
      errors: [{ field: 'channels.repayment.overdue.push' }],
    })
    expect((await client.preferences()).digest).toBeUndefined()
  })
})
