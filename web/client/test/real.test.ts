// @vitest-environment node
// The client against the real programs: DUEBELL_BIN=path/to/duebell npm test -w client
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { WebSocket as NodeSocket } from 'ws'
import { Lender, sign } from '../../e2e/src/lender.ts'
import { createClient, mergeItems } from '../src/index.ts'
import type { Client, ClientOptions, Notification, TokenReason } from '../src/types.ts'

/** Without a listener for errors, ws throws them at the process. */
class QuietSocket extends NodeSocket {
  constructor(url: string | URL, protocols: string[]) {
    super(url, protocols)
    this.on('error', () => {})
  }
}

const until = (check: () => void, timeout = 15_000) => vi.waitFor(check, { timeout, interval: 20 })

describe.skipIf(!process.env.DUEBELL_BIN)('against the real pusher', () => {
  const lender = new Lender('')
  const clients: Client[] = []

  beforeAll(() => lender.start())
  afterEach(() => clients.splice(0).forEach((client) => client.destroy()))
  afterAll(() => lender.end())

  function open(user: string, options: Partial<ClientOptions> = {}) {
    const client = createClient({
      url: lender.url,
      getToken: () => sign({ sub: user }),
      WebSocket: QuietSocket as unknown as typeof WebSocket,
      browser: {},
      storage: null,
      ...options,
    })
    clients.push(client)
    const fresh: Notification[] = []
    const went: string[] = []
    client.subscribe('*', (item) => fresh.push(item))
    client.on('state', (state) => went.push(state.name === 'offline' ? `offline: ${state.reason}` : state.name))
    client.connect()
    return { client, fresh, went }
  }

  for (const transport of ['ws', 'sse'] as const) {
    it(`tells of what happens, and two devices agree (${transport})`, async () => {
      const user = await lender.person()
      const [first, second] = [open(user, { transport }), open(user)]
      await until(() => expect([first.client.state.name, second.client.state.name]).toEqual(['live', 'live']))
      await lender.tell(user, 3)
      await until(() => expect(first.fresh).toHaveLength(3))
      await until(() => expect(second.fresh).toHaveLength(3))
      expect(first.client.counts).toMatchObject({ unread: 3, unseen: 3, total: 3 })
      await first.client.read(first.fresh[0]!.id)
      await until(() => expect(second.client.counts).toMatchObject({ unread: 2 }))
      await second.client.seen()
      await second.client.archive(first.fresh[1]!.id)
      await second.client.remove(first.fresh[2]!.id)
      await until(() => expect(first.client.counts).toMatchObject({ unread: 0, unseen: 0, total: 1 }))
      expect((await first.client.list()).items.map((item) => item.id)).toEqual([first.fresh[0]!.id])
      await first.client.unread(first.fresh[0]!.id)
      await lender.tell(user)
      await until(() => expect(first.fresh).toHaveLength(4))
      await first.client.readAll()
      await until(() => expect(second.client.counts).toEqual(first.client.counts))
      expect(second.client.counts?.unread).toBe(0)
      await expect(first.client.read('nothing')).rejects.toMatchObject({ status: 404, code: 'not_found' })
      const saved = await first.client.savePreferences({ digest: 'weekly' })
      expect(saved.digest).toBe('weekly')
      await expect(first.client.savePreferences({ time_zone: 'Mars/Base' })).rejects.toMatchObject({
        status: 422,
        errors: [{ field: 'time_zone' }],
      })
    })
  }

  it('misses nothing when the server is killed, and when it is stopped', async () => {
    const user = await lender.person()
    const { client, fresh, went } = open(user)
    await until(() => expect(client.state.name).toBe('live'))
    await lender.tell(user, 2)
    await until(() => expect(fresh).toHaveLength(2))
    await lender.stop('SIGKILL')
    await until(() => expect(client.state.name).toBe('offline'))
    await lender.start()
    await lender.tell(user, 2)
    await until(() => expect(fresh).toHaveLength(4))
    await lender.stop('SIGTERM')
    await lender.start()
    await lender.tell(user, 2)
    await until(() => expect(fresh).toHaveLength(6))
    await until(() => expect(client.state.name).toBe('live'))
    expect(new Set(fresh.map((item) => item.title)).size).toBe(6)
    expect(went).toContain('connecting')
  }, 60_000)

  it('catches up with hundreds, and a list opened meanwhile shows each once', async () => {
    const user = await lender.person()
    const first = open(user)
    await until(() => expect(first.client.state.name).toBe('live'))
    await lender.tell(user)
    await until(() => expect(first.fresh).toHaveLength(1))
    first.client.disconnect()
    await lender.tell(user, 250)
    let list: Notification[] = []
    first.client.on('changes', (change) => (list = mergeItems(list, change, { more: list.length > 0 })))
    first.client.connect()
    const pages = await Promise.all([first.client.list({ limit: 50 }), until(() => expect(first.client.state.name).toBe('live'))])
    list = mergeItems(list, pages[0], { more: true })
    await until(() => expect(first.fresh).toHaveLength(251))
    expect(new Set(first.fresh.map((item) => item.id)).size).toBe(251)
    expect(new Set(list.map((item) => item.id)).size).toBe(list.length)
    expect(list.slice(0, 50).map((item) => item.id)).toEqual((await first.client.list({ limit: 50 })).items.map((item) => item.id))
    expect(first.client.counts?.unread).toBe(251)
  }, 60_000)

  it('keeps its connection over the end of its token, and stops when it is revoked', async () => {
    const user = await lender.person()
    const reasons: TokenReason[] = []
    let now = () => sign({ sub: user }, 6)
    const { client, went } = open(user, { getToken: (reason) => (reasons.push(reason), now()) })
    await until(() => expect(client.state.name).toBe('live'))
    await new Promise((resolve) => setTimeout(resolve, 10_000))
    expect(reasons.filter((reason) => reason === 'renew').length).toBeGreaterThan(1)
    expect(went).toEqual(['connecting', 'live'])
    const dead = now()
    now = () => dead
    await new Promise((resolve) => setTimeout(resolve, 1100)) // tokens are issued in whole seconds
    await lender.ingest('POST', 'sessions/revoke', { user_id: user })
    await until(() => expect(client.state).toMatchObject({ name: 'refused', code: 4401 }))
  }, 60_000)
})
