import { describe, expect, it } from 'vitest'
import { createFakeServer } from '../src/testing.ts'
import { pass, setup, useFakeTime } from './setup.ts'

useFakeTime()

describe('the connection', () => {
  it('goes from idle over connecting to live, and back to idle', async () => {
    const { client, server, went } = setup()
    expect(client.state).toEqual({ name: 'idle' })
    client.connect()
    client.connect() // a second call changes nothing
    await pass()
    expect(client.state).toEqual({ name: 'live' })
    client.disconnect()
    expect(went()).toEqual(['connecting', 'live', 'idle'])
    expect(server.sockets).toHaveLength(1)
    expect(server.open()).toHaveLength(0)
    await pass(600_000)
    expect(server.sockets).toHaveLength(1)
  })

  it('sends the token as a subprotocol and nothing of it in the URL', async () => {
    const urls: string[] = []
    const server = createFakeServer()
    const Real = server.WebSocket
    const protocols: unknown[] = []
    const Spy = class extends Real {
      constructor(url: string | URL, offered?: string | string[]) {
        super(url, offered)
        urls.push(String(url))
        protocols.push(offered)
      }
    }
    const { client } = setup({ WebSocket: Spy, url: 'https://app.example/bell/', getToken: () => 'a.b.c' }, server)
    client.connect()
    await pass()
    expect(urls).toEqual(['wss://app.example/bell/v1/ws'])
    expect(protocols).toEqual([['duebell.v1', 'bearer.a.b.c']])
  })

  it('comes back after a break, with a pause that doubles up to 30 s and is drawn from all of it', async () => {
    const { client, server, states } = setup({ random: () => 0.999999 })
    server.reachable = false
    client.connect()
    await pass(200_000)
    const offline = states.filter((state) => state.name === 'offline')
    const connecting = states.filter((state) => state.name === 'connecting')
    expect(offline.slice(0, 8).map((state) => state.attempt)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    expect(connecting.slice(0, 3).map((state) => state.attempt)).toEqual([0, 1, 2])
    const waits = new Set<number>()
    for (let i = 1; i < offline.length; i++) waits.add(Math.round((offline[i]!.retryAt! - offline[i - 1]!.retryAt!) / 100) * 100)
    expect([...waits]).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000])
  })

  it('spreads a storm: a thousand clients that lose their server do not come back in one wave', async () => {
    const at: number[] = []
    for (let i = 0; i < 1000; i++) {
      const { client, server } = setup({ random: Math.random })
      client.connect()
      await pass()
      const start = Date.now()
      client.on('state', (state) => state.name === 'offline' && at.push(state.retryAt! - start))
      server.close(1006)
      await pass()
      client.destroy()
    }
    expect(at).toHaveLength(1000)
    const slots = Array.from({ length: 10 }, (_, slot) => at.filter((ms) => Math.floor(ms / 50) === slot).length)
    expect(Math.max(...slots)).toBeLessThan(160)
    expect(Math.min(...slots)).toBeGreaterThan(50)
  })

  it('does not take a server that accepts and drops for a good one: the pause grows until 30 s have been stable', async () => {
    const { client, server, states } = setup()
    client.connect()
    await pass()
    const pauses: number[] = []
    for (let i = 0; i < 5; i++) {
      server.close(1006)
      await pass()
      const state = states.at(-1)!
      if (state.name !== 'offline') throw new Error(state.name)
      pauses.push(state.retryAt! - Date.now())
      await pass(state.retryAt! - Date.now())
      expect(client.state.name).toBe('live')
    }
    expect(pauses).toEqual([250, 500, 1000, 2000, 4000])
    await pass(29_000)
    server.close(1006)
    await pass(8000)
    expect(client.state.name).toBe('live')
    await pass(30_001)
    server.close(1006)
    await pass()
    expect(client.state).toMatchObject({ name: 'offline', attempt: 1, retryAt: Date.now() + 250 })
  })

  it('comes back within a second after 1012, and late after 4429', async () => {
    const { client, server } = setup()
    client.connect()
    await pass()
    server.close(1012, 'the server is going away')
    await pass()
    expect(client.state).toEqual({ name: 'offline', reason: 'the server is going away', attempt: 1, retryAt: Date.now() + 500 })
    await pass(500)
    expect(client.state.name).toBe('live')
    server.close(4429, 'too many connections')
    await pass()
    expect(client.state).toMatchObject({ name: 'offline', retryAt: Date.now() + 22_500 })
  })

  it('keeps getting frames after goaway and reconnects when it was told to', async () => {
    const { client, server, went, fresh } = setup()
    client.connect()
    await pass()
    server.send({ type: 'goaway', reconnect_ms: 1830 })
    server.notify()
    await pass(1829)
    expect(fresh).toHaveLength(1)
    expect(server.sockets).toHaveLength(1)
    await pass(1)
    expect(server.sockets).toHaveLength(2)
    expect(server.open()).toHaveLength(1)
    expect(server.socket().cursor).toEqual({ epoch: 'e1', rev: 1 })
    expect(went()).toEqual(['connecting', 'live', 'connecting', 'live'])
  })

  it('waits as long as goaway said, where the server closes earlier, and counts no failure', async () => {
    const { client, server } = setup()
    client.connect()
    await pass()
    server.send({ type: 'goaway', reconnect_ms: 5000 })
    await pass(1000)
    server.close(1012)
    await pass()
    expect(client.state).toMatchObject({ name: 'offline', attempt: 0, retryAt: Date.now() + 4000 })
    await pass(3999)
    expect(server.sockets).toHaveLength(1)
    await pass(1)
    expect(client.state.name).toBe('live')
  })

  it('gives up on a server that accepts and says nothing', async () => {
    const { client, server } = setup()
    server.silent = true
    client.connect()
    await pass(9999)
    expect(client.state.name).toBe('connecting')
    await pass(1)
    expect(client.state).toMatchObject({ name: 'offline', reason: 'timeout' })
    server.silent = false
    await pass(250)
    expect(client.state.name).toBe('live')
  })

  it('tries at once when asked to', async () => {
    const { client, server } = setup()
    server.reachable = false
    client.connect()
    await pass(20_000)
    server.reachable = true
    expect(client.state.name).toBe('offline')
    client.retryNow()
    await pass()
    expect(client.state.name).toBe('live')
  })

  it('does not try again after 4403, until it is asked to', async () => {
    const { client, server, asked } = setup()
    server.refuse = { code: 4403, reason: 'this origin is not one of ALLOWED_ORIGINS' }
    client.connect()
    await pass()
    expect(client.state).toEqual({ name: 'refused', reason: 'this origin is not one of ALLOWED_ORIGINS', code: 4403 })
    await pass(3_600_000)
    expect(asked).toHaveLength(1)
    server.refuse = null
    client.connect()
    await pass()
    expect(client.state.name).toBe('live')
  })

  it('that is given up while its token is on the way stays closed', async () => {
    const { client, server } = setup({ getToken: () => new Promise((resolve) => setTimeout(() => resolve('x'), 1000)) })
    client.connect()
    await pass(500)
    client.disconnect()
    await pass(60_000)
    expect(server.sockets).toHaveLength(0)
    expect(client.state.name).toBe('idle')
  })

  it('may be ended by a listener in the middle of anything', async () => {
    const { client, server } = setup()
    client.subscribe('*', () => client.destroy())
    client.connect()
    await pass()
    server.notify()
    await pass()
    expect(client.state.name).toBe('idle')
    expect(server.open()).toHaveLength(0)
  })
})
