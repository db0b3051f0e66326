import type { Notification } from '@duebell/client'

let last = 0

export function notification(part: Partial<Notification> = {}): Notification {
  const rev = part.created_rev ?? ++last
  return {
    id: `n${rev}`,
    kind: 'repayment.upcoming',
    title: `Title ${rev}`,
    body: '',
    data: null,
    url: null,
    created_at: '2026-03-10T09:00:00Z',
    read_at: null,
    archived_at: null,
    resolved_at: null,
    quiet: false,
    created_rev: rev,
    rev,
    ...part,
  }
}
