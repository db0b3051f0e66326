import type { Changes } from '@duebell/client'
import { describe, expect, it } from 'vitest'
import { change, extend, type Filter, listOf, release } from '../src/list.ts'
import { notification } from './notification.ts'

const filter: Filter = { status: 'all', kind: [], limit: 3, page: 0 }
const n = (rev: number, part = {}) => notification({ created_rev: rev, rev, ...part })
const page = (revs: number[], more = false) => ({
  items: revs.map((rev) => n(rev)),
  next_cursor: more ? 'c' : null,
  total: revs.length,
  unread: 0,
  unseen: 0,
  rev: Math.max(0, ...revs),
})
const frame = (part: Partial<Changes>): Changes => ({
  items: [],
  removed: [],
  readThrough: null,
  fresh: [],
  catchingUp: false,
  rev: 99,
  ...part,
})
const revs = (items: readonly { created_rev: number }[]) => items.map(({ created_rev }) => created_rev)

describe('an endless list', () => {
  it('shows new ones on top, each once', () => {
    let list = listOf(page([5, 4, 3]))
    list = change(list, frame({ items: [n(6)] }), filter, false)
    list = change(list, frame({ items: [n(6), n(7)] }), filter, false)
    expect(revs(list.items)).toEqual([7, 6, 5, 4, 3])
  })

  it('holds new ones back while somebody reads, and shows them when asked', () => {
    let list = listOf(page([5, 4, 3]))
    list = change(list, frame({ items: [n(6), n(4, { rev: 8, title: 'changed' })] }), filter, true)
    expect(revs(list.items)).toEqual([5, 4, 3])
    expect(list.items[1]?.title).toBe('changed')
    expect(revs(list.held)).toEqual([6])
    list = change(list, frame({ removed: ['n6'] }), filter, true)
    expect(list.held).toEqual([])
    list = release(change(list, frame({ items: [n(9)] }), filter, true), filter)
    expect([revs(list.items), list.held.length]).toEqual([[9, 5, 4, 3], 0])
  })

  it('leaves out what is older than what was loaded', () => {
    const list = change(listOf(page([5, 4, 3], true)), frame({ items: [n(1, { rev: 9 })] }), filter, false)
    expect(revs(list.items)).toEqual([5, 4, 3])
  })

  it('goes on with the next piece', () => {
    const list = extend(listOf(page([5, 4], true)), page([3, 2]), filter)
    expect([revs(list.items), list.more]).toEqual([[5, 4, 3, 2], false])
  })

  it('keeps what was read in an unread list, and lets go of what was archived', () => {
    const unread: Filter = { ...filter, status: 'unread' }
    let list = listOf(page([5, 4, 3]))
    list = change(
      list,
      frame({ items: [n(5, { rev: 7, read_at: 'x' }), n(4, { rev: 8, archived_at: 'x' })] }),
      unread,
      false,
    )
    expect(revs(list.items)).toEqual([5, 3])
    expect(list.items[0]?.read_at).toBe('x')
  })

  it('takes only what its filter lets through', () => {
    const cards: Filter = { ...filter, kind: ['card.shipped'] }
    const list = change(listOf(page([])), frame({ items: [n(1), n(2, { kind: 'card.shipped' })] }), cards, false)
    expect(revs(list.items)).toEqual([2])
  })
})

describe('a numbered page', () => {
  const first: Filter = { ...filter, page: 1 }
  const second: Filter = { ...filter, page: 2 }

  it('doesn’t grow: the last row goes to the next one', () => {
    const list = change(listOf(page([5, 4, 3])), frame({ items: [n(6)] }), first, false)
    expect([revs(list.items), list.more]).toEqual([[6, 5, 4], true])
  })

  it('further back never moves: new ones wait for the first page', () => {
    const before = { ...listOf(page([5, 4, 3])), rev: 10 }
    const list = change(before, frame({ items: [n(11), n(8, { rev: 12 })] }), second, false)
    expect([revs(list.items), revs(list.held)]).toEqual([[5, 4, 3], [11]])
  })

  it('is filled up with the rows that moved up', () => {
    const list = change(listOf(page([6, 5, 4], true)), frame({ removed: ['n5'] }), second, false)
    expect(revs(extend(list, page([7, 6, 4]), second).items)).toEqual([6, 4])
    expect(revs(extend(list, page([6, 4, 3]), second).items)).toEqual([6, 4, 3])
  })
})
