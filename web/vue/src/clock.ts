/** What a clock on the wall shows. */
export interface Wall {
  /** The date, as its midnight in UTC in ms. */
  date: number
  minutes: number
}

export const minute = 60_000
export const day = 1440 * minute

// An Intl formatter costs as much as rendering a row: each is made once.
const formatters = new Map<string, Intl.DateTimeFormat>()

export function dateFormat(locale: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = locale + JSON.stringify(options)
  let formatter = formatters.get(key)
  if (!formatter) formatters.set(key, (formatter = new Intl.DateTimeFormat(locale, options)))
  return formatter
}

const fields = {
  year: 'numeric',
  month: 'numeric',
  day: 'numeric',
  hour: 'numeric',
  minute: 'numeric',
  hourCycle: 'h23',
} as const

/** The clock of a zone (the browser's unless given) at an instant. */
export function wallClock(at: number, timeZone?: string): Wall {
  const parts = dateFormat('en', { timeZone, ...fields }).formatToParts(at)
  const [month = 1, date = 1, year = 0, hours = 0, minutes = 0] = parts.flatMap(({ type, value }) =>
    type === 'literal' ? [] : [Number(value)],
  )
  return { date: Date.UTC(year, month - 1, date), minutes: hours * 60 + minutes }
}
