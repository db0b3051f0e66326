import type { Component } from 'vue'
import type { IconName } from './icon.ts'
import type { Translate } from './translate.ts'

export type Tone = 'info' | 'warning' | 'danger' | 'success' | 'neutral'

/** How a kind looks. Whether and when it is sent is the lender's policy, which the server tells with the preferences. */
export interface KindInfo {
  kind: string
  /** In place of the messages' `kind.NAME`. */
  label?: string
  tone?: Tone
  /** One of ours or a component. */
  icon?: IconName | Component
  /** Why it can't be switched off, in the reader's words. */
  reason?: string
}

export type Channel = 'push' | 'email'
export const channels: readonly Channel[] = ['push', 'email']

/** The kinds that Duebell writes to borrowers itself. */
export const defaultKinds: readonly KindInfo[] = [
  { kind: 'repayment.upcoming', tone: 'info', icon: 'calendar' },
  { kind: 'repayment.due_today', tone: 'warning', icon: 'clock' },
  { kind: 'repayment.overdue', tone: 'danger', icon: 'alert' },
  { kind: 'repayment.rescheduled', tone: 'info', icon: 'calendar' },
  { kind: 'application.status_changed', tone: 'success', icon: 'document' },
]

/** When the lender sends a kind, in words. */
export function leadTimes(offsets: readonly number[], t: Translate, locale: string): string[] {
  const list = (days: number[]) =>
    new Intl.ListFormat(locale, { type: 'unit' }).format(days.map((n) => t('count', { n: Math.abs(n) })))
  const before = offsets.filter((n) => n < 0)
  const after = offsets.filter((n) => n > 0)
  return [
    before.length ? t('daysBefore', { list: list(before) }) : '',
    offsets.includes(0) ? t('onTheDay') : '',
    after.length ? t('daysAfter', { list: list(after) }) : '',
  ].filter(Boolean)
}
