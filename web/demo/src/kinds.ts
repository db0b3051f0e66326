import type { KindInfo } from '@duebell/vue'

/** What an officer hears of; borrowers have @duebell/vue's own list. */
export const officerKinds: KindInfo[] = [
  { kind: 'application.status_changed', tone: 'success', icon: 'document' },
  { kind: 'repayment.overdue', tone: 'danger', icon: 'alert' },
  { kind: 'repayment.summary', tone: 'warning', icon: 'clock' },
]
