import { createApp, defineComponent, h, nextTick, ref } from 'vue'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createNotifications, useConnection, useUnreadCount } from '../src/index.ts'
import { createFakeClient } from './fakeClient.ts'
import { run, settle } from './setup.ts'

function app(options: Parameters<typeof createNotifications>[1] = {}, client = createFakeClient()) {
  const made = createApp(() => h('i'))
  made.use(createNotifications(client, options))
  made.mount(document.createElement('div'))
  return { made, client }
}

function fakeRouter() {
  const guards: (() => void)[] = []
  return {
    push: vi.fn(),
    afterEach: (guard: () => void) => {
      guards.push(guard)
      return () => void guards.splice(guards.indexOf(guard), 1)
    },
    go: () => guards.forEach((guard) => guard()),
    guards,
  }
}

describe('the connection', () => {
  it('is there while somebody is logged in', async () => {
    const authenticated = ref(false)
    const { client } = app({ authenticated })
    expect(client.calls).toEqual([])
    authenticated.value = true
    await nextTick()
    expect(client.calls).toEqual(['connect'])
    authenticated.value = false
    await nextTick()
    expect(client.calls).toEqual(['connect', 'disconnect'])
  })

  it('is made on a route change where logging in shows only there', () => {
    const router = fakeRouter()
    let token = ''
    const { client } = app({ router, authenticated: () => token !== '' })
    router.go()
    expect(client.calls).toEqual([])
    token = 'x'
    router.go()
    router.go()
    expect(client.calls).toEqual(['connect'])
    token = ''
    router.go()
    expect(client.calls).toEqual(['connect', 'disconnect'])
  })

  it('is made again on a route change if it was lost or refused', () => {
    const router = fakeRouter()
    const { client } = app({ router })
    client.setState({ name: 'offline', reason: 'x', attempt: 4, retryAt: 1 })
    router.go()
    client.setState({ name: 'refused', reason: 'x', code: 4401 })
    router.go()
    client.setState({ name: 'connecting', attempt: 1 })
    router.go()
    expect(client.calls).toEqual(['connect', 'retryNow', 'retryNow'])
  })

  it('ends with the app, and so do the guards', () => {
    const router = fakeRouter()
    const { made, client } = app({ router })
    made.unmount()
    expect([client.calls, router.guards.length]).toEqual([['connect', 'disconnect'], 0])
    expect(document.querySelector('[role=status]')).toBe(null)
  })
})

describe('what is shared', () => {
  it('forgets the counts of a person who logs out', async () => {
    const authenticated = ref(true)
    const { result, client } = run(() => useUnreadCount(), { authenticated }, createFakeClient([{}, {}]))
    expect([result.unread.value, result.unseen.value, result.total.value]).toEqual([2, 2, 2])
    authenticated.value = false
    await settle()
    expect([result.unread.value, client.calls.at(-1)]).toEqual([0, 'disconnect'])
  })

  it('is asked for by name where the plugin is missing', () => {
    const lonely = createApp(defineComponent({ setup: () => (useUnreadCount(), () => h('i')) }))
    lonely.config.warnHandler = () => {}
    expect(() => lonely.mount(document.createElement('div'))).toThrow('createNotifications')
  })

  it('takes the locale of the page where it is of the language', async () => {
    const { default: messages } = await import('../src/locales/cs.ts')
    document.documentElement.lang = 'cs-CZ'
    expect(createNotifications(createFakeClient(), { messages }).context.locale.value).toBe('cs-CZ')
    expect(createNotifications(createFakeClient()).context.locale.value).toMatch(/^en/)
    document.documentElement.lang = ''
    expect(createNotifications(createFakeClient(), { messages }).context.locale.value).toBe('cs')
  })
})

describe('trouble with the connection', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('isn’t told of when it is over in a moment, nor at the first try', async () => {
    const { result, client } = run(() => useConnection())
    client.setState({ name: 'connecting', attempt: 0 })
    await nextTick()
    vi.advanceTimersByTime(5000)
    expect(result.trouble.value).toBe(false)
    client.setState({ name: 'offline', reason: 'x', attempt: 1, retryAt: Date.now() + 500 })
    await nextTick()
    vi.advanceTimersByTime(900)
    client.setState({ name: 'live' })
    await nextTick()
    vi.advanceTimersByTime(5000)
    expect(result.trouble.value).toBe(false)
  })

  it('stays told of through the tries that fail', async () => {
    const { result, client } = run(() => useConnection())
    for (let attempt = 1; attempt < 4; attempt++) {
      client.setState({ name: 'offline', reason: 'x', attempt, retryAt: Date.now() + 600 })
      await nextTick()
      vi.advanceTimersByTime(600)
      client.setState({ name: 'connecting', attempt })
      await nextTick()
      vi.advanceTimersByTime(100)
    }
    expect(result.trouble.value).toBe(true)
    expect(result.retryIn.value).toBe(null)
  })

  it('counts the seconds only while there is a next try', async () => {
    const { client } = run(() => useConnection())
    const before = vi.getTimerCount()
    client.setState({ name: 'offline', reason: 'x', attempt: 1, retryAt: Date.now() + 9000 })
    await nextTick()
    expect(vi.getTimerCount()).toBe(before + 2)
    client.setState({ name: 'live' })
    await nextTick()
    expect(vi.getTimerCount()).toBe(before)
  })
})
