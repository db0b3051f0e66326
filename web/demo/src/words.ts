// Numbers and dates as a locale writes them.

export const money = (amount: string, currency: string, locale: string): string =>
  new Intl.NumberFormat(locale, { style: 'currency', currency }).format(Number(amount))

/** A due date is a date, never an instant: no zone moves it. */
export const date = (day: string, locale: string, month: 'short' | 'long' = 'long'): string =>
  new Intl.DateTimeFormat(locale, { day: 'numeric', month, timeZone: 'UTC' }).format(Date.parse(day))

/** "in 3 days", "tomorrow", "2 days ago" */
export const inDays = (days: number, locale: string): string =>
  new Intl.RelativeTimeFormat(locale, { numeric: 'auto' }).format(days, 'day')
