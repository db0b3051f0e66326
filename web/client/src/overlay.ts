import { isUnread } from './merge.ts'
import type { Counts, Notification } from './types.ts'

/** What a person did and the server hasn't confirmed: it lies over all that comes from the server. */
export interface Edit {
  covers: (item: Notification) => boolean
  /** An item after it; null if that is gone. */
  apply: (item: Notification) => Notification | null
  /** What it takes off the counts, beside what it does to the notifications that are known. */
  less?: [count: 'unread' | 'unseen', by: number]
  /** The rev at which the server has done it; until then undefined. */
  rev?: number
}

export type Overlay = ReturnType<typeof createOverlay>

export function createOverlay() {
  let edits: Edit[] = []

  /** How an item looks to the person; null if it is gone. Or only what isn't in the server's counts yet. */
  function item(of: Notification, pending = false): Notification | null {
    let result: Notification | null = of
    for (const edit of edits) {
      // A state of it that is newer than the edit stands.
      const applies = edit.rev === undefined || (!pending && of.rev < edit.rev)
      if (result && applies && edit.covers(of)) result = edit.apply(result)
    }
    return result
  }

  return {
    add: (edit: Edit) => void edits.push(edit),
    drop: (edit: Edit) => void (edits = edits.filter((other) => other !== edit)),
    item,
    items: (of: readonly Notification[]) => of.flatMap((one) => item(one) ?? []),

    /** The server has come to a rev: edits that it has done by then are in what it says. */
    settle: (rev: number) => void (edits = edits.filter((edit) => (edit.rev ?? Infinity) > rev).slice(-100)),

    /** The counts as they will be. */
    counts(server: Counts, known: Iterable<Notification>): Counts {
      const counts = { ...server }
      const weigh = (of: Notification | null, sign: number) => {
        if (!of || of.archived_at) return
        counts.total += sign
        if (isUnread(of)) counts.unread += sign
      }
      for (const one of known) {
        weigh(one, -1)
        weigh(item(one, true), 1)
      }
      for (const { rev, less } of edits) {
        if (!rev && less) counts[less[0]] = Math.max(0, counts[less[0]] - less[1])
      }
      return counts
    },
  }
}
