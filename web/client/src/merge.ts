import type { Changes, ListQuery, Notification } from './types.ts'

/** Which list the items are of. */
export interface MergeFilter extends Pick<ListQuery, 'status' | 'kind'> {
  /** There are older ones that weren't loaded: what is older than the last item stays out. */
  more?: boolean
}

/**
 * Answers the list with the change in it: each id once, the newest rev of it, newest first. It fits changes to a list and
 * pages to pages alike, in any order and as often as one likes. What was read stays in an unread list until that is fetched anew:
 * nothing vanishes under the pointer.
 */
export function mergeItems(
  list: readonly Notification[],
  change: Partial<Pick<Changes, 'items' | 'removed' | 'readThrough' | 'rev'>>,
  { status, kind, more }: MergeFilter = {},
): Notification[] {
  const byId = new Map(list.map((item) => [item.id, readThrough(item, change)]))
  const oldest = (more && list.at(-1)?.created_rev) || 0
  for (const id of change.removed ?? []) byId.delete(id)
  for (const item of change.items ?? []) {
    const had = byId.get(item.id)
    if (had && had.rev > item.rev) continue
    if (!item.archived_at !== (status !== 'archived')) byId.delete(item.id)
    else if (
      had ||
      (item.created_rev > oldest &&
        (status !== 'unread' || isUnread(item)) &&
        (!kind?.length || kind.includes(item.kind)))
    )
      byId.set(item.id, item)
  }
  return [...byId.values()].sort((a, b) => b.created_rev - a.created_rev)
}

export function isUnread(item: Notification): boolean {
  return !item.read_at && !item.resolved_at && !item.archived_at
}

/** The item as a read-all leaves it. One that changed after the read-all was made unread again on purpose. */
export function readThrough(item: Notification, change: Partial<Pick<Changes, 'readThrough' | 'rev'>>): Notification {
  return item.read_at || item.created_rev > (change.readThrough ?? 0) || item.rev > (change.rev ?? Infinity)
    ? item
    : { ...item, read_at: now() }
}

export const now = () => new Date().toISOString()
