import type { Notification } from '@duebell/client'
import { dateFormat, day, minute, wallClock } from './clock.ts'

/** One day of a list, in the reader's zone. */
export interface Day {
  date: number
  label: string
  items: Notification[]
}

const hour = 60 * minute

const relative = (locale: string, value: number, unit: Intl.RelativeTimeFormatUnit) =>
  new Intl.RelativeTimeFormat(locale, { numeric: 'auto' }).format(value, unit)

/** The year is worth a word where it may be another one. */
const yearOf = (since: number) => (Math.abs(since) > 300 * day ? 'numeric' : undefined)

/** The list cut into days, in its own order: today, yesterday, or the date. */
export function byDay(items: readonly Notification[], now: number, locale: string, timeZone?: string): Day[] {
  const days: Day[] = []
  const today = wallClock(now, timeZone).date
  for (const item of items) {
    const at = Date.parse(item.created_at)
    const { date } = wallClock(at, timeZone)
    const last = days.at(-1)
    if (last?.date === date) last.items.push(item)
    else {
      const ahead = (date - today) / day
      const label =
        ahead > -2 && ahead < 1
          ? relative(locale, ahead, 'day')
          : dateFormat(locale, {
              timeZone,
              weekday: 'long',
              day: 'numeric',
              month: 'long',
              year: yearOf(now - at),
            }).format(at)
      days.push({ date, label: label.charAt(0).toLocaleUpperCase(locale) + label.slice(1), items: [item] })
    }
  }
  return days
}

/** "now", "5 minutes ago", "yesterday", "12 Mar". A time that lies ahead, by a clock that is slow, is now. */
export function ago(iso: string, now: number, locale: string, timeZone?: string): string {
  const at = Date.parse(iso)
  const since = now - at
  if (since < 0.75 * minute) return relative(locale, 0, 'second')
  if (since < 59.5 * minute) return relative(locale, -Math.round(since / minute), 'minute')
  const days = (wallClock(now, timeZone).date - wallClock(at, timeZone).date) / day
  if (days < 1 || since < 6 * hour) return relative(locale, -Math.round(since / hour), 'hour')
  if (days < 7) return relative(locale, -days, 'day')
  return dateFormat(locale, { timeZone, day: 'numeric', month: 'short', year: yearOf(since) }).format(at)
}

/** Weekday, day and time. */
export function shortTime(at: number, locale: string, timeZone?: string): string {
  return dateFormat(locale, {
    timeZone,
    weekday: 'short',
    day: 'numeric',
    month: 'short',
    hour: 'numeric',
    minute: '2-digit',
  }).format(at)
}
