import { beforeEach, describe, expect, it, vi } from 'vitest'
import { createFakeBrowser, createFakeServer, type FakeBrowser, type FakeServer } from '../src/testing.ts'
import { pass, setup, useFakeTime } from './setup.ts'

useFakeTime()

let browser: FakeBrowser
let server: FakeServer

beforeEach(() => {
  browser = createFakeBrowser()
  server = createFakeServer()
})

/** Another tab of the same person. */
async function tab(options: Parameters<typeof setup>[0] = {}) {
  const page = browser.open()
  const made = setup({ storage: undefined, ...options }, server, page)
  made.client.connect()
  await pass()
  return { ...made, page }
}

describe('tabs of one person', () => {
  it('share one connection, and all of them get everything', async () => {
    const tabs = [await tab(), await tab(), await tab()]
    expect(server.sockets).toHaveLength(1)
    expect(tabs.map(({ client }) => client.state.name)).toEqual(['live', 'live', 'live'])
    server.notify()
    server.notify()
    await pass()
    for (const { fresh, client } of tabs) {
      expect(fresh.map((item) => item.id)).toEqual(['n1', 'n2'])
      expect(client.counts).toEqual({ unread: 2, unseen: 2, total: 2, rev: 2 })
    }
  })

  it('a new one has state and counts at once, and tells of nothing that is old', async () => {
    await tab()
    server.notify()
    await pass()
    const second = await tab()
    expect(second.client.state.name).toBe('live')
    expect(second.client.counts).toMatchObject({ unread: 1, rev: 1 })
    expect(second.fresh).toHaveLength(0)
    server.notify()
    await pass()
    expect(second.fresh.map((item) => item.id)).toEqual(['n2'])
  })

  it('show what was read in one of them', async () => {
    const [first, second] = [await tab(), await tab()]
    server.notify()
    await pass()
    await second.client.read('n1')
    await pass()
    expect(first.client.counts?.unread).toBe(0)
    expect(first.changes.at(-1)?.items[0]?.read_at).toBeTruthy()
  })

  it('go on when the one with the connection is closed, without a gap', async () => {
    const [first, second, third] = [await tab(), await tab(), await tab()]
    server.notify()
    await pass()
    first.page.close()
    first.client.destroy()
    server.notify()
    await pass()
    expect(server.open()).toHaveLength(1)
    expect(server.socket().cursor).toEqual({ epoch: 'e1', rev: 1 })
    for (const { fresh, client } of [second, third]) {
      expect(fresh.map((item) => item.id)).toEqual(['n1', 'n2'])
      expect(client.state.name).toBe('live')
    }
  })

  it('go on when the one with the connection is frozen, and it joins them when it wakes', async () => {
    const [first, second] = [await tab(), await tab()]
    first.page.freeze()
    await pass()
    server.notify()
    await pass()
    expect(second.fresh).toHaveLength(1)
    expect(first.fresh).toHaveLength(0)
    first.page.resume()
    await pass()
    // It was behind, so it took the connection to catch up.
    expect(server.open()).toHaveLength(1)
    expect(first.fresh.map((item) => item.id)).toEqual(['n1'])
    expect([first.client.state.name, second.client.state.name]).toEqual(['live', 'live'])
    server.notify()
    await pass()
    expect(first.fresh).toHaveLength(2)
    expect(second.fresh).toHaveLength(2)
  })

  it('take the connection from one that holds it and stands still', async () => {
    const [first, second] = [await tab(), await tab()]
    first.page.stall()
    await pass(14_000)
    expect(server.open()).toHaveLength(2) // the first doesn't know it yet
    server.notify()
    await pass()
    expect(second.fresh).toHaveLength(1)
    first.page.go()
    await pass()
    expect(server.open()).toHaveLength(1)
    expect(first.client.state.name).toBe('live')
    server.notify()
    await pass()
    expect(first.fresh.map((item) => item.id)).toEqual(['n1', 'n2'])
    expect(second.fresh.map((item) => item.id)).toEqual(['n1', 'n2'])
  })

  it('do not take it from one that is only hidden, nor while they are hidden themselves', async () => {
    const [first, second] = [await tab(), await tab()]
    first.page.hide()
    await pass(600_000)
    second.page.hide()
    first.page.stall()
    await pass(600_000)
    expect(server.sockets).toHaveLength(1)
    second.page.show()
    await pass(4000)
    expect(server.open()).toHaveLength(2)
  })

  it('do not believe one that was frozen and still thinks that it leads', async () => {
    const { client, states } = await tab()
    const { BroadcastChannel } = browser.open().browser
    const channel = new BroadcastChannel!('duebell:http://duebell.test/:u1')
    channel.postMessage({ state: { name: 'offline', reason: 'old', attempt: 9, retryAt: null }, reached: null })
    await pass()
    expect(client.state.name).toBe('live')
    expect(states).toHaveLength(2)
  })

  it('that missed a frame take the connection and catch up', async () => {
    const [first, second] = [await tab(), await tab()]
    server.notify()
    await pass()
    const lost = vi.spyOn(second.page, 'task').mockImplementation(() => {})
    server.notify()
    await pass()
    lost.mockRestore()
    server.notify()
    await pass(100)
    expect(second.fresh.map((item) => item.id)).toEqual(['n1', 'n2', 'n3'])
    expect(first.fresh.map((item) => item.id)).toEqual(['n1', 'n2', 'n3'])
    expect(server.open()).toHaveLength(1)
    expect(server.socket().cursor?.rev).toBe(1)
  })

  it('start anew together', async () => {
    const tabs = [await tab(), await tab()]
    server.close()
    server.notify()
    server.inbox.floor = 1
    await pass(250)
    expect(tabs.map(({ resets }) => resets())).toEqual([1, 1])
    expect(tabs.map(({ client }) => client.counts?.rev)).toEqual([1, 1])
  })

  it('all know that there is no connection, and any of them may try again', async () => {
    const [first, second] = [await tab(), await tab()]
    server.reachable = false
    server.close()
    await pass(60_000)
    expect(second.client.state).toEqual(first.client.state)
    expect(second.client.state.name).toBe('offline')
    server.reachable = true
    second.client.retryNow()
    await pass()
    expect([first.client.state.name, second.client.state.name]).toEqual(['live', 'live'])
    expect(server.open()).toHaveLength(1)
  })

  it('that disconnect leave the connection to the others', async () => {
    const [first, second] = [await tab(), await tab()]
    first.client.disconnect()
    await pass()
    expect(first.client.state.name).toBe('idle')
    expect(second.client.state.name).toBe('live')
    expect(server.open()).toHaveLength(1)
    second.client.disconnect()
    await pass()
    expect(server.open()).toHaveLength(0)
    expect(browser.channels()).toBe(0)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('of different people have nothing to do with each other', async () => {
    const first = await tab()
    const other = createFakeServer({ user: 'u2' })
    const second = setup({}, other, browser.open())
    second.client.connect()
    await pass()
    expect(server.open()).toHaveLength(1)
    expect(other.open()).toHaveLength(1)
    server.notify()
    await pass()
    expect(first.fresh).toHaveLength(1)
    expect(second.fresh).toHaveLength(0)
  })

  it('resume from the kept cursor when the first of them opens', async () => {
    const first = await tab()
    server.notify()
    await pass()
    first.client.destroy()
    server.notify()
    const [second, third] = [await tab(), await tab()]
    expect(second.fresh.map((item) => item.id)).toEqual(['n2'])
    expect(third.fresh).toHaveLength(0)
  })

  it('have a connection each where the browser has no locks, and do not double what comes', async () => {
    const tabs = [await tab(), await tab()]
    tabs.forEach(({ client }) => client.destroy())
    const alone = []
    for (let i = 0; i < 2; i++) {
      const page = browser.open()
      delete page.browser.navigator
      const made = setup({}, server, page)
      made.client.connect()
      alone.push(made)
    }
    await pass()
    expect(server.open()).toHaveLength(2)
    server.notify()
    await pass()
    expect(alone.map(({ fresh }) => fresh.length)).toEqual([1, 1])
  })

  it('have a connection each where the browser refuses locks', async () => {
    const page = browser.open()
    page.browser.navigator = { locks: { request: () => Promise.reject(new DOMException('no', 'SecurityError')) } }
    const { client, fresh } = setup({}, server, page)
    client.connect()
    await pass()
    expect(client.state.name).toBe('live')
    server.notify()
    await pass()
    expect(fresh).toHaveLength(1)
  })

  it('have a connection each where the app wants it so', async () => {
    await tab({ crossTab: 'off' })
    await tab({ crossTab: 'off' })
    expect(server.open()).toHaveLength(2)
  })
})
