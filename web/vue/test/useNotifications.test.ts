import { effectScope, nextTick, ref } from 'vue'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { useNotifications, type UseNotificationsOptions } from '../src/index.ts'
import { createFakeClient } from './fakeClient.ts'
import { run, settle } from './setup.ts'

const inbox = (count: number) => createFakeClient(Array.from({ length: count }, () => ({})))
const open = async (options: UseNotificationsOptions = {}, client = inbox(3)) => {
  const { result } = run(() => useNotifications(options), {}, client)
  await settle()
  return { list: result, client }
}
const ids = (list: { items: { value: readonly { id: string }[] } }) => list.items.value.map(({ id }) => id)

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

describe('a list', () => {
  it('is loaded, and says when it wasn’t', async () => {
    const client = inbox(2)
    client.failNext('list')
    const { list } = await open({}, client)
    expect([list.loaded.value, !!list.error.value, list.loading.value]).toEqual([false, true, ''])
    await list.load()
    expect([ids(list), list.error.value]).toEqual([['n2', 'n1'], null])
  })

  it('is loaded again by itself when the connection is back', async () => {
    const client = inbox(1)
    client.failNext('list')
    const { list } = await open({}, client)
    client.setState({ name: 'offline', reason: 'x', attempt: 1, retryAt: null })
    await settle()
    expect(list.loaded.value).toBe(false)
    client.setState({ name: 'live' })
    await settle()
    expect(ids(list)).toEqual(['n1'])
  })

  it('shows what arrives, is changed and goes away elsewhere', async () => {
    const { list, client } = await open()
    client.arrive({})
    client.change('n2', { read_at: 'x' })
    client.drop('n1')
    expect(ids(list)).toEqual(['n4', 'n3', 'n2'])
    expect(list.items.value[2]?.read_at).toBe('x')
    expect([list.total.value, list.unread.value]).toEqual([3, 2])
  })

  it('holds back what arrives while somebody reads', async () => {
    let reading = true
    const { list, client } = await open({ hold: () => reading })
    client.arrive({}, {})
    expect([list.items.value.length, list.newCount.value]).toEqual([3, 2])
    await list.showNew()
    expect([list.items.value.length, list.newCount.value]).toEqual([5, 0])
    reading = false
    client.arrive({})
    expect(list.items.value.length).toBe(6)
  })

  it('goes on, piece by piece, and never loads the same piece twice', async () => {
    const { list, client } = await open({ limit: 2 }, inbox(5))
    expect([ids(list), list.more.value]).toEqual([['n5', 'n4'], true])
    await Promise.all([list.loadMore(), list.loadMore()])
    expect(ids(list)).toEqual(['n5', 'n4', 'n3', 'n2'])
    await list.loadMore()
    expect([ids(list).length, list.more.value]).toEqual([5, false])
    expect(client.calls.filter((call) => call.startsWith('list')).length).toBe(3)
  })

  it('follows its filter, and forgets an answer to the filter before', async () => {
    const status = ref<'all' | 'archived'>('all')
    const client = inbox(2)
    client.change('n1', { archived_at: 'x' })
    const release = client.hold()
    const { list } = await open({ status }, client)
    status.value = 'archived'
    await nextTick()
    release()
    await settle()
    expect(ids(list)).toEqual(['n1'])
  })

  it('lets an item that was read stay in the unread list until that is left', async () => {
    const status = ref<'all' | 'unread'>('unread')
    const { list } = await open({ status })
    await list.markRead('n2')
    expect(ids(list)).toEqual(['n3', 'n2', 'n1'])
    expect(list.total.value).toBe(2)
    status.value = 'all'
    await settle()
    status.value = 'unread'
    await settle()
    expect(ids(list)).toEqual(['n3', 'n1'])
  })

  it('asks the server for the total that only it knows, once a burst', async () => {
    const { list, client } = await open({ kinds: ['card.shipped'] }, createFakeClient([{ kind: 'card.shipped' }, {}]))
    expect(list.total.value).toBe(1)
    for (let i = 0; i < 5; i++) client.arrive({ kind: 'card.shipped' })
    expect([list.items.value.length, list.total.value]).toEqual([6, 1])
    await vi.advanceTimersByTimeAsync(500)
    expect(list.total.value).toBe(6)
    expect(client.calls.filter((call) => call.startsWith('list')).length).toBe(2)
  })

  it('is loaded anew after a reset, and empty at once when it was another person’s', async () => {
    const { list, client } = await open()
    client.emit('reset', undefined)
    expect(list.items.value.length).toBe(3)
    await settle()
    expect(client.calls.filter((call) => call.startsWith('list')).length).toBe(2)
    client.setState({ name: 'idle' }) // the counts are gone with the person
    client.emit('reset', undefined)
    expect([list.items.value.length, list.loaded.value]).toEqual([0, false])
  })

  it('stops with its scope', async () => {
    const client = inbox(1)
    const scope = effectScope()
    const { result } = run(() => scope.run(() => useNotifications()), {}, client)
    await settle()
    scope.stop()
    client.arrive({})
    expect(result?.items.value.length).toBe(1)
  })
})

describe('numbered pages', () => {
  it('show a live total, and new ones only on the first', async () => {
    const { list, client } = await open({ pages: true, limit: 2 }, inbox(5))
    expect([list.page.value, list.pages.value]).toEqual([1, 3])
    await list.goTo(2)
    expect(ids(list)).toEqual(['n3', 'n2'])
    client.arrive({}, {})
    expect([ids(list), list.total.value, list.pages.value, list.newCount.value]).toEqual([['n3', 'n2'], 7, 4, 2])
    await list.showNew()
    expect([list.page.value, ids(list), list.newCount.value]).toEqual([1, ['n7', 'n6'], 0])
  })

  it('fill up when a row goes, and step back when the last page is gone', async () => {
    const { list, client } = await open({ pages: true, limit: 2 }, inbox(5))
    await list.archive('n4')
    expect(ids(list)).toEqual(['n5'])
    await vi.advanceTimersByTimeAsync(500)
    expect(ids(list)).toEqual(['n5', 'n3'])
    await list.goTo(2)
    client.drop('n2')
    client.drop('n1')
    await settle()
    expect([list.page.value, ids(list)]).toEqual([1, ['n5', 'n3']])
  })
})

describe('what a person does', () => {
  it('is taken back if it is refused, and said so', async () => {
    const { list, client } = await open()
    client.failNext('archive')
    const archived = list.archive('n2')
    expect(ids(list)).toEqual(['n3', 'n1'])
    await archived
    expect([ids(list), list.failed.value, list.undoable.value]).toEqual([['n3', 'n2', 'n1'], true, null])
  })

  it('can be undone: an archived one comes back', async () => {
    const { list } = await open()
    await list.archive('n2')
    expect(list.undoable.value?.what).toBe('archive')
    await list.undo()
    expect([ids(list), list.undoable.value]).toEqual([['n3', 'n2', 'n1'], null])
  })

  it('marks all as read and makes exactly those unread again', async () => {
    const { list, client } = await open()
    await list.markRead('n2')
    await list.readAll()
    expect([list.unread.value, list.undoable.value?.count]).toEqual([0, 2])
    await list.undo()
    expect(client.inbox.filter(({ read_at }) => read_at).map(({ id }) => id)).toEqual(['n2'])
  })

  it('asks for unread ones that it hasn’t loaded before it marks all as read', async () => {
    const { list } = await open({ limit: 2 }, inbox(5))
    await list.readAll()
    expect(list.undoable.value?.count).toBe(5)
  })

  it('leaves unread what waits above the list', async () => {
    const { list, client } = await open({ hold: () => true })
    client.arrive({}, {})
    await list.readAll()
    expect(client.calls).toContain('readAll 3')
    expect([list.unread.value, list.undoable.value?.count]).toEqual([2, 3])
  })

  it('is final above a hundred', async () => {
    const { list } = await open({}, inbox(101))
    expect(list.readAllIsFinal.value).toBe(true)
    await list.readAll()
    expect([list.unread.value, list.undoable.value]).toEqual([0, null])
  })

  it('can be undone for eight seconds, longer while the pointer is there', async () => {
    const { list } = await open()
    await list.archive('n1')
    vi.advanceTimersByTime(7000)
    list.undoTime.hold()
    vi.advanceTimersByTime(60_000)
    expect(list.undoable.value).not.toBe(null)
    list.undoTime.release()
    vi.advanceTimersByTime(8000)
    expect(list.undoable.value).toBe(null)
  })
})
