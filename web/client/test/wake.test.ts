import { describe, expect, it, vi } from 'vitest'
import { createFakeBrowser, createFakeServer } from '../src/testing.ts'
import { pass, setup, useFakeTime } from './setup.ts'

useFakeTime()

async function live() {
  const page = createFakeBrowser().open()
  const made = setup({ crossTab: 'off' }, createFakeServer(), page)
  made.client.connect()
  await pass()
  const pings = () => made.server.sockets.flatMap((socket) => socket.received).filter((message) => message.type === 'ping').length
  return { ...made, page, pings }
}

describe('a connection that may be dead', () => {
  for (const type of ['online', 'offline', 'pageshow', 'visibilitychange', 'resume']) {
    it(`is asked on ${type}, and kept when it answers`, async () => {
      const { page, pings, server, client } = await live()
      page.fire(type)
      await pass(10_000)
      expect(pings()).toBe(1)
      expect(server.sockets).toHaveLength(1)
      expect(client.state.name).toBe('live')
    })
  }

  it('is given up after 3 s without an answer, and comes back from its cursor', async () => {
    const { page, server, client, fresh } = await live()
    server.notify()
    await pass()
    server.socket().silent = true
    page.fire('online')
    await pass(2999)
    expect(client.state.name).toBe('live')
    server.notify()
    await pass(2)
    expect(client.state).toMatchObject({ name: 'offline', reason: 'silence' })
    await pass(250)
    expect(server.socket().cursor).toEqual({ epoch: 'e1', rev: 1 })
    expect(fresh.map((item) => item.id)).toEqual(['n1', 'n2'])
  })

  it('is asked after a sleep, which timers tell by being late', async () => {
    const { pings } = await live()
    await pass(15_000)
    expect(pings()).toBe(0)
    vi.setSystemTime(Date.now() + 20_000)
    await pass(10_000)
    expect(pings()).toBe(1)
  })

  it('gets a turn to deliver an answer that came while the machine slept', async () => {
    const { page, server, client } = await live()
    // The ping is out; the machine sleeps; both the overdue timer and the answer wait when it wakes, the timer first.
    server.socket().silent = true
    page.fire('online')
    await pass(2000)
    vi.setSystemTime(Date.now() + 600_000)
    await pass(1000)
    await pass(900)
    server.socket().silent = false
    server.send({ type: 'ok' })
    await pass(2000)
    expect(client.state.name).toBe('live')
    expect(server.sockets).toHaveLength(1)
  })

  it('is asked when nothing came for two intervals of the server, not before', async () => {
    const { server, pings, client } = await live()
    await pass(49_000)
    expect(pings()).toBe(0)
    await pass(11_000)
    expect(pings()).toBe(1)
    server.notify()
    await pass(40_000)
    expect(pings()).toBe(1)
    expect(client.state.name).toBe('live')
  })

  it('is tried at once after a sleep', async () => {
    const { server, client } = await live()
    server.close(4429)
    await pass()
    expect(client.state.name).toBe('offline')
    await pass(30_000)
    server.reachable = false
    server.close()
    await pass(120_000)
    server.reachable = true
    const { state } = client
    if (state.name !== 'offline') throw new Error(state.name)
    vi.setSystemTime(Date.now() + 3_600_000)
    await pass(10_000)
    expect(client.state.name).toBe('live')
  })

  it('is tried at once when the network is back', async () => {
    const { page, server, client } = await live()
    server.reachable = false
    server.close()
    await pass(60_000)
    expect(client.state.name).toBe('offline')
    server.reachable = true
    page.fire('online')
    await pass()
    expect(client.state.name).toBe('live')
  })

  it('is not tried earlier than a server that said 4429 wants', async () => {
    const { page, server, client } = await live()
    server.close(4429)
    await pass()
    page.fire('online')
    await pass()
    expect(client.state.name).toBe('offline')
    expect(server.sockets).toHaveLength(1)
  })

  it('is let go when the page is frozen or put away, and comes back with what was missed', async () => {
    const { page, server, client, fresh, went } = await live()
    page.fire('freeze')
    expect(client.state).toEqual({ name: 'offline', reason: 'asleep', attempt: 0, retryAt: null })
    expect(server.open()).toHaveLength(0)
    for (let i = 0; i < 30; i++) server.notify()
    await pass(600_000)
    expect(fresh).toHaveLength(0)
    page.fire('resume')
    await pass()
    expect(fresh).toHaveLength(30)
    page.fire('pagehide')
    expect(server.open()).toHaveLength(0)
    page.fire('pageshow')
    await pass()
    expect(client.state.name).toBe('live')
    expect(went()).toEqual(['connecting', 'live', 'offline', 'connecting', 'catching_up', 'live', 'offline', 'connecting', 'live'])
  })

  it('leaves no timer and no listener behind', async () => {
    const { page, client, pings } = await live()
    client.destroy()
    expect(vi.getTimerCount()).toBe(0)
    page.fire('online')
    await pass(600_000)
    expect(pings()).toBe(0)
  })
})
