import { nextTick } from 'vue'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { NotificationCenter } from '../src/index.ts'
import { createFakeClient } from './fakeClient.ts'
import { button, settle, show, texts } from './setup.ts'

const inbox = (count: number) => createFakeClient(Array.from({ length: count }, (_, i) => ({ url: `/loans/${i + 1}` })))

async function opened(client = inbox(3), options = {}, props = {}) {
  const screen = show(NotificationCenter, props, options, client)
  await settle()
  await screen.wrapper.get('.db-bell').trigger('click')
  await settle()
  return screen
}

beforeEach(() => void vi.useFakeTimers({ shouldAdvanceTime: true }))

describe('the bell', () => {
  it('says how many are new, in the badge and in its name', async () => {
    const { wrapper, client } = show(NotificationCenter, {}, {}, inbox(3))
    await settle()
    expect(wrapper.get('.db-badge').text()).toBe('3')
    expect(wrapper.get('.db-badge').attributes('aria-hidden')).toBe('true')
    expect(wrapper.get('.db-bell').attributes('aria-label')).toBe('Notifications, 3 new')
    client.arrive(...Array.from({ length: 97 }, () => ({})))
    await settle()
    expect(wrapper.get('.db-badge').text()).toBe('99+')
    expect(wrapper.get('.db-bell').attributes('aria-label')).toBe('Notifications, 100 new')
  })

  it('has no badge where nothing is new', async () => {
    const { wrapper } = show(NotificationCenter)
    await settle()
    expect(wrapper.find('.db-badge').exists()).toBe(false)
    expect(wrapper.get('.db-bell').attributes('aria-label')).toBe('Notifications')
  })

  it('opens and closes a panel, which takes the focus and gives it back', async () => {
    const { wrapper } = await opened()
    const bell = wrapper.get('.db-bell')
    const panel = wrapper.get('[role=dialog]')
    expect([bell.attributes('aria-expanded'), bell.attributes('aria-controls')]).toEqual([
      'true',
      panel.attributes('id'),
    ])
    expect(document.activeElement).toBe(panel.element)
    await panel.trigger('keydown', { key: 'Escape' })
    expect(wrapper.find('[role=dialog]').exists()).toBe(false)
    expect(document.activeElement).toBe(bell.element)
    expect(bell.attributes('aria-controls')).toBeUndefined()
    expect(wrapper.emitted('close')).toHaveLength(1)
  })

  it('closes on a click elsewhere, and leaves the focus there', async () => {
    const { wrapper } = await opened()
    document.body.dispatchEvent(new Event('pointerdown', { bubbles: true }))
    await nextTick()
    expect(wrapper.find('[role=dialog]').exists()).toBe(false)
    expect(document.activeElement).not.toBe(wrapper.get('.db-bell').element)
  })

  it('loads nothing before it is needed, and loads it once', async () => {
    const { wrapper, client } = show(NotificationCenter, {}, {}, inbox(1))
    await settle()
    const lists = () => client.calls.filter((call) => call.startsWith('list')).length
    expect(lists()).toBe(0)
    await wrapper.get('.db-bell').trigger('pointerenter')
    await wrapper.get('.db-bell').trigger('click')
    await settle()
    expect(lists()).toBe(1)
  })

  it('is seen when it was opened, and whatever arrives while it is open', async () => {
    const { wrapper, client } = await opened()
    expect(wrapper.find('.db-badge').exists()).toBe(false)
    client.arrive({})
    await settle()
    expect(client.calls.filter((call) => call === 'seen')).toHaveLength(2)
    expect(wrapper.find('.db-badge').exists()).toBe(false)
  })
})

describe('the list in it', () => {
  it('is a feed of articles, the day inside the first one', async () => {
    const { wrapper } = await opened(
      createFakeClient([{ created_at: new Date(Date.now() - 86_400_000).toISOString() }, {}, {}]),
    )
    const feed = wrapper.get('[role=feed]')
    expect([...feed.element.children].map((child) => child.tagName)).toEqual(['ARTICLE', 'ARTICLE', 'ARTICLE'])
    expect(texts(wrapper, '.db-day')).toEqual(['Today', 'Yesterday'])
    const second = wrapper.findAll('article')[1]
    expect(second?.attributes()).toMatchObject({ tabindex: '0', 'aria-posinset': '2', 'aria-setsize': '3' })
    const label = second?.attributes('aria-labelledby') ?? ''
    expect(document.getElementById(label)?.textContent).toContain('Title 2')
    expect(feed.attributes('aria-busy')).toBe('false')
  })

  it('goes by Page Down and Page Up, and out of the list by Control with Home and End', async () => {
    const { wrapper } = await opened()
    const [first, second] = wrapper.findAll('article')
    first?.element.focus()
    await first?.trigger('keydown', { key: 'PageDown' })
    expect(document.activeElement).toBe(second?.element)
    await second?.trigger('keydown', { key: 'PageUp' })
    expect(document.activeElement).toBe(first?.element)
    await first?.trigger('keydown', { key: 'End', ctrlKey: true })
    expect(document.activeElement?.className).toBe('db-keys')
    await second?.trigger('keydown', { key: 'Home', ctrlKey: true })
    expect(document.activeElement?.className).toContain('db-scroll')
  })

  it('opens a notification by click or Enter: it is read and the router goes there', async () => {
    const paths: string[] = []
    const { wrapper, client } = await opened(inbox(2), { routerPush: (path: string) => paths.push(path) })
    const article = wrapper.get('article')
    article.element.focus()
    await article.trigger('keydown', { key: 'Enter' })
    await settle()
    expect([paths, client.calls.includes('read n2')]).toEqual([['/loans/2'], true])
    expect(wrapper.find('[role=dialog]').exists()).toBe(false)
    expect(wrapper.emitted('select')?.[0]?.[0]).toMatchObject({ id: 'n2' })
    expect(document.activeElement).toBe(wrapper.get('.db-bell').element)
  })

  it('leaves a new tab to the browser, and other sites open beside the app', async () => {
    const push = vi.fn()
    const { wrapper, client } = await opened(createFakeClient([{ url: '/a' }, { url: 'https://example.org/b' }]), {
      routerPush: push,
    })
    const [outside, inside] = wrapper.findAll<HTMLAnchorElement>('.db-title a')
    expect(outside?.attributes()).toMatchObject({ target: '_blank', rel: 'noopener noreferrer' })
    const event = new MouseEvent('click', { bubbles: true, cancelable: true, ctrlKey: true })
    inside?.element.dispatchEvent(event)
    expect([event.defaultPrevented, push.mock.calls.length, client.calls.includes('read n1')]).toEqual([false, 0, true])
  })

  it('shows no link that isn’t safe', async () => {
    const { wrapper } = await opened(createFakeClient([{ url: 'javascript:alert(1)' }]))
    expect(wrapper.find('.db-title a').exists()).toBe(false)
    await wrapper.get('.db-card').trigger('click')
    expect(wrapper.get('article').attributes('data-unread')).toBe('false')
  })

  it('shows texts as they are, whatever is in them', async () => {
    const { wrapper } = await opened(createFakeClient([{ title: '<img src=x onerror=1> {n}', body: '<b>x</b>' }]))
    expect(wrapper.get('.db-title').text()).toContain('<img src=x onerror=1> {n}')
    expect(wrapper.find('.db-text b, .db-text img').exists()).toBe(false)
  })

  it('offers the actions of a notification', async () => {
    const ran = vi.fn()
    const actions = () => [
      { label: 'Pay', run: ran, primary: true },
      { label: 'Terms', url: '/terms' },
      { label: 'Bad', url: 'javascript:1' },
    ]
    const { wrapper } = await opened(inbox(1), { actions })
    expect(texts(wrapper, '.db-actions > *')).toEqual(['Pay', 'Terms'])
    await button(wrapper, 'Pay').trigger('click')
    expect(ran).toHaveBeenCalledOnce()
    expect(wrapper.emitted('select')?.[0]?.[2]).toMatchObject({ label: 'Pay' })
  })

  it('marks one as read and unread, and archives it with a way back', async () => {
    const { wrapper, client } = await opened(inbox(2))
    await button(wrapper, 'Mark as read').trigger('click')
    await settle()
    expect(wrapper.findAll('[data-unread=true]')).toHaveLength(1)
    await button(wrapper, 'Mark as unread').trigger('click')
    await settle()
    expect(wrapper.findAll('[data-unread=true]')).toHaveLength(2)
    await button(wrapper, 'Archive').trigger('click')
    await settle()
    expect(texts(wrapper, 'article .db-title')).toEqual(['Unread: Title 1'])
    await button(wrapper, 'Undo').trigger('click')
    await settle()
    expect([client.calls.at(-1), wrapper.findAll('article').length]).toEqual(['unarchive n2', 2])
  })

  it('gives the focus of one that goes away to its neighbour', async () => {
    const { wrapper } = await opened()
    const archive = wrapper.findAll('article')[1]?.findAll('button').at(-1)
    archive?.element.focus()
    await archive?.trigger('click')
    await settle()
    expect(document.activeElement).toBe(wrapper.findAll('article')[1]?.element)
    expect(document.activeElement?.textContent).toContain('Title 1')
  })

  it('doesn’t move under somebody who reads: new ones wait behind a pill', async () => {
    const { wrapper, client } = await opened()
    wrapper.get('article').element.focus()
    client.arrive({}, {})
    await settle()
    expect(wrapper.findAll('article')).toHaveLength(3)
    expect(wrapper.get('.db-pill').text()).toBe('2 new notifications')
    expect(document.activeElement).toBe(wrapper.get('article').element)
    await wrapper.get('.db-pill').trigger('click')
    await settle()
    expect(wrapper.findAll('article')).toHaveLength(5)
    expect(document.activeElement?.className).toContain('db-scroll')
  })

  it('shows one that is settled as such: it isn’t unread and can’t become so', async () => {
    const { wrapper } = await opened(createFakeClient([{ resolved_at: '2026-01-01T00:00:00Z' }]))
    expect(wrapper.get('.db-chip').text()).toBe('Settled')
    expect(wrapper.find('[data-unread=true]').exists()).toBe(false)
    expect(wrapper.findAll('.db-tools button').map((b) => b.attributes('aria-label'))).toEqual(['Archive'])
  })

  it('keeps its times going', async () => {
    const { wrapper } = await opened()
    expect(wrapper.get('time').text()).toBe('1 minute ago')
    await vi.advanceTimersByTimeAsync(120_000)
    await nextTick()
    expect(wrapper.get('time').text()).toBe('3 minutes ago')
  })
})

describe('all at once', () => {
  it('are read, with a way back', async () => {
    const { wrapper } = await opened()
    await button(wrapper, 'Mark all as read').trigger('click')
    await settle()
    expect(wrapper.find('[data-unread=true]').exists()).toBe(false)
    expect(wrapper.get('.db-notice').text()).toContain('3 marked as read')
    expect(wrapper.findAll('button').some((b) => b.text() === 'Mark all as read')).toBe(false)
    await button(wrapper, 'Undo').trigger('click')
    await settle()
    expect(wrapper.findAll('[data-unread=true]')).toHaveLength(3)
  })

  it('are asked for twice where there is no way back', async () => {
    const { wrapper, client } = await opened(inbox(150))
    await button(wrapper, 'Mark all as read').trigger('click')
    await settle()
    const question = wrapper.get('.db-notice')
    expect(question.text()).toContain('Mark all 150 as read?')
    expect(document.activeElement).toBe(question.element)
    await button(wrapper, 'Cancel').trigger('click')
    await settle()
    expect(client.calls.some((call) => call.startsWith('readAll'))).toBe(false)
    await button(wrapper, 'Mark all as read').trigger('click')
    await settle()
    await button(wrapper, 'Mark all as read').trigger('click')
    await settle()
    expect(client.calls.some((call) => call.startsWith('readAll'))).toBe(true)
  })

  it('come back when the server refuses, and it says so', async () => {
    const { wrapper, client } = await opened()
    client.failNext('archive')
    await button(wrapper, 'Archive').trigger('click')
    await settle()
    expect(wrapper.findAll('article')).toHaveLength(3)
    expect(wrapper.get('.db-notice').text()).toContain('didn’t work')
    await vi.advanceTimersByTimeAsync(150)
    expect(document.querySelector('[role=status].db-sr')?.textContent).toContain('didn’t work')
    await button(wrapper, 'Close').trigger('click')
    expect(wrapper.find('.db-notice').exists()).toBe(false)
  })
})

describe('without a list', () => {
  it('shows that it is on its way, empty, or failed', async () => {
    const client = inbox(1)
    const release = client.hold()
    const { wrapper } = await opened(client)
    expect(wrapper.get('.db-skeleton').text()).toBe('Loading…')
    client.failNext('list')
    release()
    await settle()
    expect(wrapper.get('.db-state').text()).toContain('couldn’t be loaded')
    await button(wrapper, 'Try now').trigger('click')
    await settle()
    expect(wrapper.findAll('article')).toHaveLength(1)
    client.drop('n1')
    await settle()
    expect(wrapper.get('.db-state').text()).toContain('all caught up')
  })

  it('counts down to the next try, and tries now', async () => {
    const { wrapper, client } = await opened()
    client.setState({ name: 'offline', reason: 'closed', attempt: 1, retryAt: Date.now() + 9000 })
    await settle()
    expect(wrapper.find('.db-banner').exists()).toBe(false)
    await vi.advanceTimersByTimeAsync(1000)
    await nextTick()
    expect(wrapper.get('.db-banner').text()).toContain('Reconnecting in 8 s')
    await vi.advanceTimersByTimeAsync(7000)
    await nextTick()
    expect(wrapper.get('.db-banner').text()).toContain('Reconnecting in 1 s')
    await button(wrapper, 'Try now').trigger('click')
    expect(client.calls.at(-1)).toBe('retryNow')
    client.setState({ name: 'live' })
    await settle()
    expect(wrapper.find('.db-banner').exists()).toBe(false)
  })

  it('says at once that the session has ended', async () => {
    const { wrapper, client } = await opened()
    client.setState({ name: 'refused', reason: 'token', code: 4401 })
    await settle()
    expect(wrapper.get('.db-banner').text()).toContain('sign in again')
  })
})

describe('the live region', () => {
  const region = () => document.querySelector('[role=status].db-sr')

  it('is there, empty, before anything happens, and speaks once a burst', async () => {
    const { client } = show(NotificationCenter)
    await settle()
    expect(region()?.textContent).toBe('')
    client.arrive({ title: 'Paid' })
    await vi.advanceTimersByTimeAsync(600)
    expect(region()?.textContent).toBe('New notification: Paid')
    for (let i = 0; i < 5; i++) client.arrive({})
    await vi.advanceTimersByTimeAsync(1000)
    expect(region()?.textContent).toBe('New notification: Paid')
    await vi.advanceTimersByTimeAsync(2200)
    expect(region()?.textContent).toBe('5 new notifications')
  })

  it('says nothing of quiet and read ones', async () => {
    const { client } = show(NotificationCenter)
    client.arrive({ quiet: true }, { read_at: 'x' })
    await vi.advanceTimersByTimeAsync(5000)
    expect(region()?.textContent).toBe('')
  })
})

it('is right to left in Arabic', async () => {
  const { default: messages } = await import('../src/locales/ar.ts')
  const { wrapper } = await opened(inbox(1), { messages, locale: 'ar' })
  expect(wrapper.attributes()).toMatchObject({ lang: 'ar', dir: 'rtl' })
  expect(wrapper.get('h2').text()).toBe('الإشعارات')
})
