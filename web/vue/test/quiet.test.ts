import { describe, expect, it } from 'vitest'
import { isQuiet, minutesOf, nextSending, quietUntil } from '../src/quiet.ts'

const night = { from: '21:00', to: '08:00' }
const noon = { from: '12:00', to: '13:30' }
const iso = (at: number | null) => at && new Date(at).toISOString()
const at = (text: string) => Date.parse(text)

describe('quiet hours', () => {
  it('begin with their first minute and end before their last, over midnight too', () => {
    expect(
      ['20:59', '21:00', '23:59', '00:00', '07:59', '08:00'].map((time) => isQuiet(minutesOf(time), night)),
    ).toEqual([false, true, true, true, true, false])
    expect(['11:59', '12:00', '13:29', '13:30'].map((time) => isQuiet(minutesOf(time), noon))).toEqual([
      false,
      true,
      true,
      false,
    ])
  })

  it('end this morning or the next, by the zone', () => {
    expect(iso(quietUntil(at('2026-03-10T22:00:00Z'), 'Europe/Prague', night))).toBe('2026-03-11T07:00:00.000Z')
    expect(iso(quietUntil(at('2026-03-10T03:00:00Z'), 'Europe/Prague', night))).toBe('2026-03-10T07:00:00.000Z')
    expect(quietUntil(at('2026-03-10T12:00:00Z'), 'Europe/Prague', night)).toBe(null)
    expect(quietUntil(at('2026-03-10T22:00:00Z'), 'Europe/Prague', null)).toBe(null)
  })

  it('end at the new time when the clocks change in the night', () => {
    expect(iso(quietUntil(at('2026-03-28T23:00:00Z'), 'Europe/Prague', night))).toBe('2026-03-29T06:00:00.000Z')
    expect(iso(quietUntil(at('2026-10-24T22:00:00Z'), 'Europe/Prague', night))).toBe('2026-10-25T07:00:00.000Z')
  })
})

describe('the next sending', () => {
  const next = (now: string, sendAt: string, quiet: typeof night | null) =>
    iso(nextSending(at(now), 'Asia/Kolkata', sendAt, quiet))

  it('is today’s if it lies ahead, else tomorrow’s', () => {
    expect(next('2026-03-10T02:00:00Z', '09:00', null)).toBe('2026-03-10T03:30:00.000Z')
    expect(next('2026-03-10T03:30:00Z', '09:00', null)).toBe('2026-03-11T03:30:00.000Z')
  })

  it('waits for the end of quiet hours that end on the same day', () => {
    expect(next('2026-03-10T00:00:00Z', '07:00', night)).toBe('2026-03-10T02:30:00.000Z')
    expect(next('2026-03-10T00:00:00Z', '12:15', noon)).toBe('2026-03-10T08:00:00.000Z')
  })

  it('comes before quiet hours that last into the next day', () => {
    expect(next('2026-03-10T00:00:00Z', '22:00', night)).toBe('2026-03-10T15:29:00.000Z')
  })
})
