import { createClient } from '@duebell/client'
import { createFakeServer } from '@duebell/client/testing'
import { nextTick } from 'vue'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { NotificationCenter, NotificationsView, NotificationToasts } from '../src/index.ts'
import { button, settle, showWith, texts } from './setup.ts'

/** The real client on a scripted server. */
function connect(server = createFakeServer()) {
  const client = createClient({
    url: server.url,
    getToken: () => server.token(),
    fetch: server.fetch,
    WebSocket: server.WebSocket,
    random: () => 0.5,
    storage: null,
    crossTab: 'off',
    browser: {},
  })
  return { server, client }
}

const pass = async (ms = 0) => {
  await vi.advanceTimersByTimeAsync(ms)
  await settle()
  await vi.advanceTimersByTimeAsync(0)
  await nextTick()
}

const titles = (wrapper: Parameters<typeof texts>[0]) =>
  texts(wrapper, 'article .db-title').map((text) => text.replace('Unread: ', ''))

beforeEach(() => void vi.useFakeTimers())

describe('with the real client', () => {
  it('a reminder appears in badge, list and toast without a reload', async () => {
    const { server, client } = connect()
    server.notify({ title: 'First' })
    const center = showWith(client, NotificationCenter)
    const toasts = showWith(client, NotificationToasts)
    await pass()
    expect(center.get('.db-badge').text()).toBe('1')
    server.notify({ title: 'Second' })
    await pass(500)
    expect(center.get('.db-badge').text()).toBe('2')
    expect(texts(toasts, 'li .db-title')).toEqual(['Second'])
    await center.get('.db-bell').trigger('click')
    await pass()
    expect(titles(center)).toEqual(['Second', 'First'])
    expect(center.find('.db-badge').exists()).toBe(false)
    server.notify({ title: 'Third' })
    await pass()
    expect(titles(center)).toEqual(['Third', 'Second', 'First'])
  })

  it('a list that is opened while it catches up shows each item once', async () => {
    const { server, client } = connect(createFakeServer({ pageSize: 7 }))
    for (let i = 1; i <= 5; i++) server.notify({ title: `old ${i}` })
    const wrapper = showWith(client, NotificationCenter, { limit: 100 })
    await pass()
    server.reachable = false
    server.close(1006)
    await pass()
    for (let i = 1; i <= 30; i++) server.notify({ title: `missed ${i}` })
    server.reachable = true
    const release = server.hold()
    await wrapper.get('.db-bell').trigger('click')
    await pass(5000)
    server.notify({ title: 'meanwhile' })
    await pass()
    release()
    await pass()
    server.notify({ title: 'after' })
    await pass()
    const all = titles(wrapper)
    expect(new Set(all).size).toBe(all.length)
    expect([all.length, all[0], all[1], all.at(-1)]).toEqual([37, 'after', 'meanwhile', 'old 1'])
  })

  it('all are read at once and come back by undo, on every screen', async () => {
    const { server, client } = connect()
    for (let i = 0; i < 3; i++) server.notify()
    const center = showWith(client, NotificationCenter)
    const view = showWith(client, NotificationsView)
    await pass()
    await center.get('.db-bell').trigger('click')
    await pass()
    await button(center, 'Mark all as read').trigger('click')
    await pass()
    expect([
      center.findAll('[data-unread=true]').length,
      view.findAll('[data-unread=true]').length,
      server.inbox.counts().unread,
    ]).toEqual([0, 0, 0])
    await button(center, 'Undo').trigger('click')
    await pass()
    expect([
      center.findAll('[data-unread=true]').length,
      view.findAll('[data-unread=true]').length,
      server.inbox.counts().unread,
    ]).toEqual([3, 3, 3])
    expect(view.get('.db-count').text()).toBe('3')
  })

  it('a change that the server refuses is taken back', async () => {
    const { server, client } = connect()
    server.notify({ title: 'Stays' })
    const wrapper = showWith(client, NotificationsView)
    await pass()
    server.intercept = ({ path }) => (path.endsWith('/archive') ? 500 : undefined)
    await button(wrapper, 'Archive').trigger('click')
    await pass()
    expect([titles(wrapper), wrapper.get('.db-notice').text()]).toEqual([
      ['Stays'],
      expect.stringContaining('didn’t work'),
    ])
  })

  it('an outage is told of, counted down and over by itself; what came meanwhile is one burst', async () => {
    const { server, client } = connect()
    const center = showWith(client, NotificationCenter)
    const toasts = showWith(client, NotificationToasts)
    await pass()
    server.reachable = false
    server.close(1006)
    await pass(4000)
    for (let i = 0; i < 30; i++) server.notify()
    await center.get('.db-bell').trigger('click')
    await pass(1200)
    expect(center.get('.db-banner').text()).toMatch(/Reconnecting in \d+ s|Connecting/)
    await center.get('.db-panel').trigger('keydown', { key: 'Escape' })
    server.reachable = true
    await pass(60_000)
    expect(client.state.name).toBe('live')
    expect(center.get('.db-badge').text()).toBe('30')
    expect(toasts.findAll('li').length).toBeLessThanOrEqual(1)
    await center.get('.db-bell').trigger('click')
    await pass()
    expect([center.find('.db-banner').exists(), center.findAll('article').length]).toEqual([false, 20])
  })

  it('nothing of one person is left when another logs in', async () => {
    const { server, client } = connect()
    server.notify({ title: 'Of the first' })
    const wrapper = showWith(client, NotificationsView)
    await pass()
    expect(titles(wrapper)).toEqual(['Of the first'])
    client.disconnect()
    server.user = 'u2'
    const release = server.hold()
    client.connect()
    await pass()
    expect(titles(wrapper)).toEqual([])
    release()
    await pass()
  })
})
