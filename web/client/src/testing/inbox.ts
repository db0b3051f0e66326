import { isUnread } from '../merge.ts'
import type { ChangesMessage, Cursor, ServerMessage } from '../messages.ts'
import type { ListQuery, Notification, Page } from '../types.ts'

/** One person's inbox, with the rules of the real one: each change adds 1 to rev. */
export class FakeInbox {
  epoch: string
  rev = 0
  /** Cursors below it are too old. */
  floor = 0
  seenRev = 0
  items = new Map<string, Notification>()
  removed = new Map<string, number>()
  /** Is told of each change. */
  changed: (message: ChangesMessage) => void = () => {}
  private serial = 0

  constructor(epoch: string) {
    this.epoch = epoch
  }

  counts() {
    const all = [...this.items.values()].filter((item) => !item.archived_at)
    return {
      unread: all.filter(isUnread).length,
      unseen: all.filter((item) => item.created_rev > this.seenRev).length,
      total: all.length,
      rev: this.rev,
    }
  }

  add(fields: Partial<Notification> = {}): Notification {
    const rev = this.rev + 1
    this.serial += 1
    const item: Notification = {
      id: `n${this.serial}`,
      kind: 'repayment.upcoming',
      title: `Notification ${this.serial}`,
      body: '',
      data: null,
      url: null,
      created_at: new Date().toISOString(),
      read_at: null,
      archived_at: null,
      resolved_at: null,
      quiet: false,
      ...fields,
      created_rev: rev,
      rev,
    }
    this.commit({ items: [item] }, () => this.items.set(item.id, item))
    return item
  }

  /** Answers false if there is no such notification. What changes nothing takes no rev. */
  edit(id: string, fields: Partial<Notification>): boolean {
    const item = this.items.get(id)
    if (!item) return false
    const names = Object.keys(fields) as (keyof Notification)[]
    const same = names.every((name) => (name.endsWith('_at') ? !item[name] === !fields[name] : item[name] === fields[name]))
    if (same) return true
    const next = { ...item, ...fields, rev: this.rev + 1 }
    this.commit({ items: [next] }, () => this.items.set(id, next))
    return true
  }

  remove(id: string): boolean {
    if (!this.items.has(id)) return false
    this.commit({ removed: [id] }, () => {
      this.items.delete(id)
      this.removed.set(id, this.rev + 1)
    })
    return true
  }

  readAll(upTo = this.rev): void {
    const through = Math.min(upTo, this.rev)
    const found = [...this.items.values()].filter((item) => item.created_rev <= through && !item.read_at)
    if (!found.length) return
    this.commit({ read_through: through }, () => {
      for (const item of found) this.items.set(item.id, { ...item, read_at: new Date().toISOString(), rev: this.rev + 1 })
    })
  }

  seen(upTo = this.rev): void {
    const before = this.counts().unseen
    const was = this.seenRev
    this.seenRev = Math.max(was, Math.min(upTo, this.rev))
    if (this.counts().unseen === before) return
    this.commit({}, () => {})
  }

  private commit(what: Pick<ChangesMessage, 'items' | 'removed' | 'read_through'>, change: () => void): void {
    const from = this.rev
    change()
    this.rev = from + 1
    this.changed({ type: 'changes', from, ...this.counts(), ...what })
  }

  list({ limit = 20, cursor, page = 1, status = 'all', kind }: ListQuery): Page {
    const all = [...this.items.values()]
      .filter((item) => (status === 'archived' ? item.archived_at : !item.archived_at))
      .filter((item) => status !== 'unread' || isUnread(item))
      .filter((item) => !kind?.length || kind.includes(item.kind))
      .sort((a, b) => b.created_rev - a.created_rev)
    const rest = all.filter((item) => !cursor || item.created_rev < Number(cursor)).slice(cursor ? 0 : (page - 1) * limit)
    const items = rest.slice(0, limit)
    const { unread, unseen, rev } = this.counts()
    const next_cursor = rest.length > limit ? String(items.at(-1)?.created_rev) : null
    return { items: structuredClone(items), next_cursor, total: all.length, unread, unseen, rev }
  }

  /** What a session that resumes from a cursor gets after hello: whole revs in frames of `size` rows, folded, in present state. */
  catchUp(at: Cursor, size: number): ServerMessage[] {
    const { epoch, rev } = this
    if ((at.epoch && at.epoch !== epoch) || at.rev > rev || at.rev < this.floor) {
      return [{ type: 'reset', epoch, ...this.counts() }]
    }
    type Row = { rev: number; item?: Notification; id?: string }
    const rows: Row[] = [
      ...[...this.items.values()].map((item) => ({ rev: item.rev, item })),
      ...[...this.removed].map(([id, removedRev]) => ({ rev: removedRev, id })),
    ]
      .filter((row) => row.rev > at.rev)
      .sort((a, b) => a.rev - b.rev)
    const frames: ServerMessage[] = []
    let from = at.rev
    while (from < rev) {
      let page = rows.splice(0, size)
      const last = page.at(-1)?.rev ?? rev
      const cut = rows.length > 0 && rows[0]?.rev === last
      const whole = cut ? page.filter((row) => row.rev < last) : page
      if (cut && whole.length) {
        rows.unshift(...page.slice(whole.length))
        page = whole
      }
      const to = !rows.length ? rev : cut && !whole.length ? from : (page.at(-1)?.rev ?? rev)
      const items = page.flatMap((row) => row.item ?? [])
      const removed = page.flatMap((row) => row.id ?? [])
      frames.push({
        type: 'changes',
        from,
        ...this.counts(),
        rev: to,
        ...(items.length && { items: structuredClone(items) }),
        ...(removed.length && { removed }),
      })
      from = to
    }
    return frames
  }
}
