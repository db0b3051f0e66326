import { type Changes, mergeItems, type Notification, type Page } from '@duebell/client'

/** What a screen shows of a person's list, and what waits to be shown. */
export interface List {
  /** Newest first, each once. */
  items: readonly Notification[]
  /** New ones that came while the reader was further down; above `items`. */
  held: readonly Notification[]
  /** The server has older ones. */
  more: boolean
  /** Where `more` begins. */
  cursor: string | null
  /** The rev that the server's page was of. */
  rev: number
}

export interface Filter {
  status: 'all' | 'unread' | 'archived'
  kind: string[]
  limit: number
  /** A numbered page; 0: an endless list. */
  page: number
}

export const emptyList: List = { items: [], held: [], more: false, cursor: null, rev: 0 }

export function listOf({ items, next_cursor, rev }: Page): List {
  return { items, held: [], more: !!next_cursor, cursor: next_cursor, rev }
}

/** A numbered page has no more than its rows. */
function cut(list: List, { page, limit }: Filter): List {
  return page && list.items.length > limit ? { ...list, items: list.items.slice(0, limit), more: true } : list
}

/**
 * The list after a change. With `hold` new ones wait, so that nothing moves under the reader; on later pages they always do,
 * because they belong on the first.
 */
export function change(list: List, changes: Changes, filter: Filter, hold: boolean): List {
  const later = filter.page > 1
  const top = list.items[0]?.created_rev ?? 0
  const shown = new Set(list.items.map(({ id }) => id))
  const waits = (item: Notification) =>
    (hold || later) && !shown.has(item.id) && item.created_rev > (later ? list.rev : top)
  // On a later page what isn't newer than the page and belongs above it lies on an earlier one.
  const isHere = (item: Notification) => !waits(item) && (!later || shown.has(item.id) || item.created_rev < top)
  return cut(
    {
      ...list,
      items: mergeItems(
        list.items,
        { ...changes, items: changes.items.filter(isHere) },
        { ...filter, more: list.more },
      ),
      // One that is shown in the meantime doesn't wait any more.
      held: mergeItems(list.held, { ...changes, items: changes.items.filter(waits) }, filter),
    },
    filter,
  )
}

/** The list with what was held. */
export function release(list: List, filter: Filter): List {
  return cut({ ...list, items: mergeItems(list.items, { items: [...list.held] }, filter), held: [] }, filter)
}

/** The list with the next piece of it, or a numbered page with the rows that moved up to it. */
export function extend(list: List, page: Page, filter: Filter): List {
  const { more, cursor } = listOf(page)
  const top = list.items[0]?.created_rev ?? Infinity
  const held = new Set(list.held.map(({ id }) => id))
  const items = page.items.filter((item) => !held.has(item.id) && (filter.page < 2 || item.created_rev <= top))
  return cut({ ...list, items: mergeItems(list.items, { items }, filter), more, cursor }, filter)
}
