import { defineComponent, h } from 'vue'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { NotificationCenter, NotificationToasts } from '../src/index.ts'
import { button, settle, show, texts } from './setup.ts'

const later = async (ms: number) => {
  await vi.advanceTimersByTimeAsync(ms)
  await settle()
}

beforeEach(() => void vi.useFakeTimers())

describe('a toast', () => {
  it('is one for a burst', async () => {
    const { wrapper, client } = show(NotificationToasts)
    client.arrive({ title: 'A' })
    client.arrive({ title: 'B' }, { title: 'C' })
    await later(500)
    expect(wrapper.findAll('li')).toHaveLength(1)
    expect(wrapper.get('.db-title').text()).toBe('3 new notifications')
    expect(wrapper.get('.db-body').text()).toBe('C\nB')
    expect(wrapper.get('section').attributes('aria-label')).toBe('3 new notifications') // no list's name
  })

  it('isn’t there for quiet, read or settled ones', async () => {
    const { wrapper, client } = show(NotificationToasts)
    client.arrive({ quiet: true }, { read_at: 'x' }, { resolved_at: 'x' })
    await later(5000)
    expect(wrapper.findAll('li')).toHaveLength(0)
  })

  it('isn’t there in a hidden page', async () => {
    const { wrapper, client } = show(NotificationToasts)
    vi.spyOn(document, 'hidden', 'get').mockReturnValue(true)
    client.arrive({})
    await later(5000)
    expect(wrapper.findAll('li')).toHaveLength(0)
  })

  it('goes after a while, but not from under the pointer or the focus', async () => {
    const { wrapper, client } = show(NotificationToasts)
    client.arrive({})
    await later(500)
    await wrapper.trigger('pointerenter')
    await later(60_000)
    expect(wrapper.findAll('li')).toHaveLength(1)
    await wrapper.trigger('pointerleave')
    await later(8000)
    expect(wrapper.findAll('li')).toHaveLength(0)
  })

  it('goes when it was read or settled elsewhere', async () => {
    const { wrapper, client } = show(NotificationToasts)
    const [one, two] = client.arrive({}, {})
    await later(500)
    client.change(one?.id ?? '', { read_at: 'x' })
    await settle()
    expect(wrapper.findAll('li')).toHaveLength(1)
    client.change(one?.id ?? '', { read_at: 'x' })
    await client.readAll(two?.created_rev)
    await settle()
    expect(wrapper.findAll('li')).toHaveLength(0)
  })

  it('is at most the third', async () => {
    const { wrapper, client } = show(NotificationToasts, { duration: 60_000 })
    for (const title of ['A', 'B', 'C', 'D']) {
      client.arrive({ title })
      await later(3500)
    }
    expect(texts(wrapper, '.db-title')).toEqual(['B', 'C', 'D'])
  })

  it('leads to its notification, and can be dismissed by button and Escape', async () => {
    const paths: string[] = []
    const { wrapper, client } = show(NotificationToasts, {}, { routerPush: (path) => paths.push(path) })
    const [item] = client.arrive({ url: '/loans/1' })
    await later(500)
    await wrapper.get('a').trigger('click')
    expect([paths, client.calls.includes(`read ${item?.id}`), wrapper.findAll('li').length]).toEqual([
      ['/loans/1'],
      true,
      0,
    ])
    client.arrive({})
    await later(4000)
    await button(wrapper, 'Close').trigger('click')
    expect(wrapper.findAll('li')).toHaveLength(0)
    client.arrive({})
    await later(4000)
    await wrapper.get('li').trigger('keydown', { key: 'Escape' })
    expect(wrapper.findAll('li')).toHaveLength(0)
  })
})

describe('beside a notification centre', () => {
  const both = defineComponent(() => () => h('div', [h(NotificationCenter), h(NotificationToasts)]))

  it('a burst opens the list', async () => {
    const { wrapper, client } = show(both)
    await settle()
    client.arrive({}, {})
    await later(500)
    await button(wrapper, 'Show').trigger('click')
    await settle()
    expect(wrapper.findAll('[role=dialog] article')).toHaveLength(2)
  })

  it('nothing pops up while the list is open', async () => {
    const { wrapper, client } = show(both)
    await wrapper.get('.db-bell').trigger('click')
    client.arrive({})
    await later(5000)
    expect(wrapper.findAll('.db-toasts li')).toHaveLength(0)
  })

  it('a list that opens clears what popped up', async () => {
    const { wrapper, client } = show(both)
    client.arrive({}, {})
    await later(500)
    expect(wrapper.findAll('.db-toasts li')).toHaveLength(1)
    await wrapper.get('.db-bell').trigger('click')
    await settle()
    expect(wrapper.findAll('.db-toasts li')).toHaveLength(0)
  })

  it('the page has one live region', () => {
    show(both)
    expect(document.querySelectorAll('[role=status].db-sr')).toHaveLength(1)
  })
})
