import { beforeEach, describe, expect, it, vi } from 'vitest'
import { NotificationsView } from '../src/index.ts'
import { createFakeClient } from './fakeClient.ts'
import { button, settle, show, texts } from './setup.ts'

const inbox = (count: number) =>
  createFakeClient(
    Array.from({ length: count }, (_, i) => ({ kind: i % 2 ? 'repayment.overdue' : 'repayment.upcoming' })),
  )

async function view(props = {}, client = inbox(5), options = {}) {
  const screen = show(NotificationsView, props, options, client)
  await settle()
  return screen
}

beforeEach(() => void vi.useFakeTimers({ shouldAdvanceTime: true }))

describe('the tabs', () => {
  it('move by arrows and choose by click', async () => {
    const { wrapper, client } = await view()
    const tabs = wrapper.findAll<HTMLElement>('[role=tab]')
    expect(tabs.map((tab) => [tab.attributes('aria-selected'), tab.attributes('tabindex')])).toEqual([
      ['true', '0'],
      ['false', '-1'],
      ['false', '-1'],
    ])
    tabs[0]?.element.focus()
    await tabs[0]?.trigger('keydown', { key: 'ArrowLeft' })
    expect(document.activeElement).toBe(tabs[2]?.element)
    await tabs[2]?.trigger('keydown', { key: 'ArrowRight' })
    expect(document.activeElement).toBe(tabs[0]?.element)
    await tabs[0]?.trigger('keydown', { key: 'ArrowRight' })
    await tabs[1]?.trigger('click')
    await settle()
    expect(client.calls.at(-1)).toContain('"status":"unread"')
    const panel = wrapper.get('[role=tabpanel]')
    expect(panel.attributes('aria-labelledby')).toBe(tabs[1]?.attributes('id'))
    expect(tabs[1]?.attributes('aria-controls')).toBe(panel.attributes('id'))
  })

  it('run the other way in Arabic', async () => {
    const { default: messages } = await import('../src/locales/ar.ts')
    const { wrapper } = await view({}, inbox(1), { messages, locale: 'ar' })
    const tabs = wrapper.findAll<HTMLElement>('[role=tab]')
    tabs[0]?.element.focus()
    await tabs[0]?.trigger('keydown', { key: 'ArrowLeft' })
    expect(document.activeElement).toBe(tabs[1]?.element)
  })

  it('count the unread, live', async () => {
    const { wrapper, client } = await view()
    expect(wrapper.get('.db-count').text()).toBe('5')
    client.arrive({})
    await settle()
    expect(wrapper.get('.db-count').text()).toBe('6')
  })

  it('show archived ones, which can be moved back', async () => {
    const client = inbox(2)
    client.change('n1', { archived_at: 'x' })
    const { wrapper } = await view({ tab: 'archived' }, client)
    expect(texts(wrapper, '.db-title')).toEqual(['Unread: Title 1'].map((text) => text.replace('Unread: ', '')))
    await button(wrapper, 'Move back to the list').trigger('click')
    await settle()
    expect(wrapper.get('.db-state').text()).toBe('Nothing archived')
  })

  it('let an item that was read stay in the unread list until that is left', async () => {
    const { wrapper } = await view({ tab: 'unread' })
    await button(wrapper, 'Mark as read').trigger('click')
    await settle()
    expect(wrapper.findAll('article')).toHaveLength(5)
    const [all, unread] = wrapper.findAll('[role=tab]')
    await all?.trigger('click')
    await settle()
    await unread?.trigger('click')
    await settle()
    expect(wrapper.findAll('article')).toHaveLength(4)
  })
})

describe('the filter', () => {
  it('chooses several kinds, or all again', async () => {
    const { wrapper, client } = await view()
    await button(wrapper, 'Overdue payments').trigger('click')
    await settle()
    expect(wrapper.findAll('article')).toHaveLength(2)
    expect(button(wrapper, 'Overdue payments').attributes('aria-pressed')).toBe('true')
    await button(wrapper, 'Upcoming payments').trigger('click')
    await settle()
    expect(client.calls.at(-1)).toContain('"kind":["repayment.overdue","repayment.upcoming"]')
    await wrapper.get('.db-filter button').trigger('click')
    await settle()
    expect(client.calls.at(-1)).toContain('"kind":[]')
  })
})

describe('numbered pages', () => {
  it('are plain lists by day, with a pager whose numbers are live', async () => {
    const { wrapper, client } = await view({ limit: 2 })
    expect(wrapper.find('[role=feed]').exists()).toBe(false)
    expect(texts(wrapper, 'h3')).toEqual(['Today'])
    expect(wrapper.get('.db-pager p').text()).toBe('1–2 of 5')
    await button(wrapper, 'Page 3').trigger('click')
    await settle()
    expect(wrapper.get('.db-pager p').text()).toBe('5–5 of 5')
    expect(button(wrapper, 'Page 3').attributes('aria-current')).toBe('page')
    expect(button(wrapper, 'Next').attributes('aria-disabled')).toBe('true')
    client.arrive({}, {})
    await settle()
    expect(wrapper.get('.db-pager p').text()).toBe('5–6 of 7')
    expect(texts(wrapper, 'article .db-title')).toEqual(['Unread: Title 1'])
    await wrapper.get('.db-pill').trigger('click')
    await settle()
    expect(texts(wrapper, 'article .db-title')).toEqual(['Unread: Title 7', 'Unread: Title 6'])
  })

  it('say which one it is', async () => {
    const { wrapper } = await view({ limit: 2 })
    await button(wrapper, 'Next').trigger('click')
    await vi.advanceTimersByTimeAsync(200)
    expect(document.querySelector('[role=status].db-sr')?.textContent).toBe('Page 2')
  })
})

describe('the endless mode', () => {
  it('is a feed that goes on', async () => {
    const { wrapper } = await view({ mode: 'endless', limit: 2 })
    expect(wrapper.get('article').attributes('aria-setsize')).toBe('5')
    await button(wrapper, 'Show more').trigger('click')
    await settle()
    expect(wrapper.findAll('article')).toHaveLength(4)
    const last = wrapper.findAll('article').at(-1)
    last?.element.focus()
    await last?.trigger('keydown', { key: 'PageDown' })
    await settle()
    expect(wrapper.findAll('article')).toHaveLength(5)
    expect(wrapper.findAll('button').some((b) => b.text() === 'Show more')).toBe(false)
  })
})

it('is seen while its first page is open', async () => {
  const { wrapper, client } = await view({ limit: 2 })
  expect(client.counts?.unseen).toBe(0)
  await button(wrapper, 'Page 2').trigger('click')
  await settle()
  client.arrive({})
  await settle()
  expect(client.counts?.unseen).toBe(1)
})
