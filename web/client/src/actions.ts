import type { Api, ApiError } from './api.ts'
import type { CountFields, Inbox } from './inbox.ts'
import { isUnread, now } from './merge.ts'
import type { Edit, Overlay } from './overlay.ts'
import type { Notification } from './types.ts'

/** What a person does to the inbox: shown at once, then done, in the order in which it was asked for. */
export function createActions(api: Api, inbox: Inbox, overlay: Overlay) {
  let last: Promise<unknown> = Promise.resolve()

  async function perform(edit: Edit, method: string, path: string, body?: object): Promise<void> {
    const settle = inbox.answering(edit)
    const call = last.catch(() => {}).then(() => api<CountFields>(method, `v1/notifications/${path}`, body))
    last = call
    overlay.add(edit)
    inbox.show(edit.covers)
    try {
      settle(await call)
    } catch (error) {
      const gone = (error as Partial<ApiError> | undefined)?.status === 404
      if (gone) edit.apply = () => null // removed elsewhere
      else overlay.drop(edit)
      inbox.show(edit.covers)
      if (gone) settle()
      if (!gone || method !== 'DELETE') throw error
    }
  }

  const one = (method: string, action: string, apply: Edit['apply']) => (id: string) =>
    perform({ covers: (item) => item.id === id, apply }, method, encodeURIComponent(id) + action)

  const setter = (field: 'read_at' | 'archived_at', on: boolean, action: string) =>
    one('POST', action, (item) => ({ ...item, [field]: on ? (item[field] ?? now()) : null }))

  /** What stays in the count behind an older rev, only the server knows. */
  const less = (count: 'unread' | 'unseen', rev: number, counted = 0): Edit['less'] => [
    count,
    rev < inbox.shownRev() ? 0 : (inbox.counts()?.[count] ?? 0) - counted,
  ]

  return {
    read: setter('read_at', true, '/read'),
    unread: setter('read_at', false, '/unread'),
    archive: setter('archived_at', true, '/archive'),
    unarchive: setter('archived_at', false, '/unarchive'),
    remove: one('DELETE', '', () => null),

    readAll(rev = inbox.shownRev()) {
      const covers = (item: Notification) => item.created_rev <= rev
      const counted = overlay.items([...inbox.known.values()]).filter((item) => covers(item) && isUnread(item)).length
      return perform(
        {
          covers,
          apply: (item) => ({ ...item, read_at: item.read_at ?? now() }),
          less: less('unread', rev, counted),
        },
        'POST',
        'read-all',
        { up_to_rev: rev },
      )
    },

    seen: (rev = inbox.shownRev()) =>
      perform({ covers: () => false, apply: (item) => item, less: less('unseen', rev) }, 'POST', 'seen', {
        up_to_rev: rev,
      }),
  }
}
