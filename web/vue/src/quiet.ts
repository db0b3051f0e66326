import { day, minute, wallClock, type Wall } from './clock.ts'

/** Times by the clock on the wall, `HH:MM`. From is quiet, to is not any more; they may wrap midnight. */
export interface QuietHours {
  from: string
  to: string
}

export function minutesOf(clock: string): number {
  const [hours = 0, minutes = 0] = clock.split(':').map(Number)
  return hours * 60 + minutes
}

export function isQuiet(minutes: number, quiet: QuietHours): boolean {
  const from = minutesOf(quiet.from)
  const to = minutesOf(quiet.to)
  return from < to ? minutes >= from && minutes < to : minutes >= from || minutes < to
}

/** The instant at which a clock in the zone shows that. A time that the clocks skip is the same distance after the gap. */
function instantOf({ date, minutes }: Wall, timeZone: string): number {
  const wanted = date + minutes * minute
  const offsetAt = (at: number) => {
    const wall = wallClock(at, timeZone)
    return wall.date + wall.minutes * minute - Math.floor(at / minute) * minute
  }
  return wanted - offsetAt(wanted - offsetAt(wanted))
}

/** The end of the quiet hours that now falls into; null if it falls into none. */
export function quietUntil(now: number, timeZone: string, quiet: QuietHours | null): number | null {
  const { date, minutes } = wallClock(now, timeZone)
  if (!quiet || !isQuiet(minutes, quiet)) return null
  const to = minutesOf(quiet.to)
  return instantOf({ date: to > minutes ? date : date + day, minutes: to }, timeZone)
}

/** When the lender's next reminders go out: at `sendAt`, moved out of quiet hours within its day as the server does. */
export function nextSending(now: number, timeZone: string, sendAt: string, quiet: QuietHours | null): number {
  let minutes = minutesOf(sendAt)
  if (quiet && isQuiet(minutes, quiet)) {
    const to = minutesOf(quiet.to)
    // They end on this day, or on the next: then it is the minute before they begin.
    minutes = to > minutes ? to : Math.max(0, minutesOf(quiet.from) - 1)
  }
  const { date } = wallClock(now, timeZone)
  const today = instantOf({ date, minutes }, timeZone)
  return today > now ? today : instantOf({ date: date + day, minutes }, timeZone)
}
