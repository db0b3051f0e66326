import { describe, expect, it } from 'vitest'
import { ago, byDay } from '../src/when.ts'
import { notification } from './notification.ts'

const now = Date.parse('2026-03-10T12:00:00Z')
const at = (created_at: string) => notification({ created_at })

describe('how long ago', () => {
  it.each([
    ['2026-03-10T12:00:30Z', 'now'],
    ['2026-03-10T11:59:40Z', 'now'],
    ['2026-03-10T11:59:00Z', '1 minute ago'],
    ['2026-03-10T11:01:00Z', '59 minutes ago'],
    ['2026-03-10T11:00:10Z', '1 hour ago'],
    ['2026-03-10T00:30:00Z', '12 hours ago'],
    ['2026-03-09T11:00:00Z', 'yesterday'],
    ['2026-03-04T12:00:00Z', '6 days ago'],
    ['2026-03-03T12:00:00Z', '3 Mar'],
    ['2025-01-03T12:00:00Z', '3 Jan 2025'],
  ])('%s is %s', (created, words) => {
    expect(ago(created, now, 'en-GB', 'UTC')).toBe(words)
  })

  it('doesn’t call the last hours yesterday', () => {
    expect(ago('2026-03-09T23:00:00Z', Date.parse('2026-03-10T01:00:00Z'), 'en-GB', 'UTC')).toBe('2 hours ago')
  })

  it('is in the language', () => {
    expect(ago('2026-03-10T11:57:00Z', now, 'cs', 'UTC')).toBe('před 3 minutami')
  })
})

describe('a list by day', () => {
  it('is cut at midnight, newest first, with names for the nearest days', () => {
    const items = [
      at('2026-03-10T08:00:00Z'),
      at('2026-03-10T00:00:00Z'),
      at('2026-03-09T23:59:59Z'),
      at('2026-03-08T10:00:00Z'),
    ]
    const days = byDay(items, now, 'en-GB', 'UTC')
    expect(days.map(({ label, items }) => [label, items.length])).toEqual([
      ['Today', 2],
      ['Yesterday', 1],
      ['Sunday 8 March', 1],
    ])
  })

  it('goes by the midnight of the reader’s zone', () => {
    const items = [at('2026-03-10T06:00:00Z'), at('2026-03-10T03:00:00Z')]
    expect(byDay(items, now, 'en-GB', 'America/New_York').map(({ label }) => label)).toEqual(['Today', 'Yesterday'])
  })

  it('holds across the day on which the clocks change', () => {
    const night = Date.parse('2026-03-29T22:30:00Z') // 00:30 of the 30th in Prague
    const items = [at('2026-03-29T21:30:00Z'), at('2026-03-28T23:30:00Z'), at('2026-03-28T22:30:00Z')]
    expect(byDay(items, night, 'en-GB', 'Europe/Prague').map(({ label }) => label)).toEqual([
      'Yesterday',
      'Saturday 28 March',
    ])
  })
})
