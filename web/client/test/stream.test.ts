import { describe, expect, it } from 'vitest'
import { createFakeServer } from '../src/testing.ts'
import { pass, setup, useFakeTime } from './setup.ts'

useFakeTime()

describe('the event stream', () => {
  it('takes over after three sockets that never opened, without a gap', async () => {
    const { client, server, fresh, went } = setup()
    client.connect()
    await pass()
    server.notify()
    await pass()
    server.upgrades = false
    server.close()
    server.notify()
    await pass(250 + 500 + 1000 + 2000)
    expect(client.state.name).toBe('live')
    expect(server.socket()).toMatchObject({ kind: 'sse', cursor: { epoch: 'e1', rev: 1 } })
    server.notify()
    await pass()
    expect(fresh.map((item) => item.id)).toEqual(['n1', 'n2', 'n3'])
    expect(went().filter((name) => name === 'offline')).toHaveLength(4)
    // When it ends, a socket has one try.
    server.close()
    await pass(20_000)
    expect(server.socket().kind).toBe('sse')
    server.upgrades = true
    server.close()
    await pass(20_000)
    expect(server.socket().kind).toBe('ws')
  })

  it('is not tried for good where nothing gets through', async () => {
    const { client, server, went } = setup()
    server.reachable = false
    client.connect()
    await pass(600_000)
    const streams = server.requests.filter(({ path }) => path === '/v1/stream').length
    const tries = went().filter((name) => name === 'connecting').length
    expect(streams).toBeGreaterThan(1)
    expect(streams).toBeLessThanOrEqual(Math.ceil(tries / 4))
    server.reachable = true
    client.retryNow()
    await pass()
    expect(client.state.name).toBe('live')
  })

  it('is what there is without WebSocket, and on request', async () => {
    for (const options of [{ transport: 'sse' as const }, { WebSocket: undefined, browser: {} }]) {
      const { client, server, fresh } = setup(options)
      client.connect()
      await pass()
      expect(server.socket().kind).toBe('sse')
      server.notify()
      await pass()
      expect(fresh).toHaveLength(1)
      client.destroy()
      expect(server.open()).toHaveLength(0)
    }
  })

  it('is never used where only sockets are wanted', async () => {
    const { client, server } = setup({ transport: 'ws' })
    server.upgrades = false
    client.connect()
    await pass(600_000)
    expect(server.requests).toHaveLength(0)
  })

  it('understands events in pieces, comments, and why it is closed', async () => {
    const server = createFakeServer()
    const bytes = new TextEncoder()
    let write: (text: string) => void = () => {}
    const stream = async () =>
      new Response(
        new ReadableStream<Uint8Array>({ start: (controller) => (write = (text) => controller.enqueue(bytes.encode(text))) }),
      )
    const { client, states, fresh } = setup({ transport: 'sse', fetch: stream }, server)
    client.connect()
    await pass()
    const item = { ...server.notify({ title: 'čtvrt' }) }
    const hello = JSON.stringify({ ...server.hello(), rev: 0 })
    write(`:\n\nid: e1.0\ndata: ${hello.slice(0, 20)}`)
    await pass()
    write(`${hello.slice(20)}\n`)
    write('\n:\n\n')
    await pass()
    expect(client.state.name).toBe('live')
    write(`data:${JSON.stringify({ type: 'changes', from: 0, rev: 1, unread: 1, unseen: 1, total: 1, items: [item] })}\n\n`)
    await pass()
    expect(fresh.map(({ title }) => title)).toEqual(['čtvrt'])
    write('event: close\ndata: {"code":1012,"reason":"the server is going away"}\n\n')
    await pass()
    expect(states.at(-1)).toMatchObject({ name: 'offline', reason: 'the server is going away', retryAt: Date.now() + 500 })
  })

  it('has its token renewed by a new stream from the cursor', async () => {
    const { client, server, went } = setup({ transport: 'sse', getToken: () => server.token(600) })
    client.connect()
    await pass()
    server.notify()
    for (let i = 0; i < 24; i++) {
      await pass(25_000)
      server.socket().beat()
    }
    expect(server.sockets).toHaveLength(2)
    expect(server.socket().cursor?.rev).toBe(1)
    expect(server.open()).toHaveLength(1)
    expect(went()).toEqual(['connecting', 'live', 'connecting', 'live'])
  })

  it('asks once more for a token that is refused, and stops where that is too', async () => {
    const { client, server, asked } = setup({ transport: 'sse', getToken: (reason) => (asked.push(reason), 'dead') })
    server.badTokens.add('dead')
    client.connect()
    await pass(600_000)
    expect(asked).toEqual(['connect', 'refused'])
    expect(client.state).toMatchObject({ name: 'refused', code: 4401 })
  })

  it('that is silent for too long is dead', async () => {
    const { client, server, states } = setup({ transport: 'sse' })
    client.connect()
    await pass(45_000)
    expect(client.state.name).toBe('live')
    server.socket().silent = true
    await pass(20_000)
    expect(states.some((state) => state.name === 'offline' && state.reason === 'silence')).toBe(true)
    expect(client.state.name).toBe('live')
  })
})
