import { beforeEach, expect, it, vi } from 'vitest'
import { createBurst } from '../src/burst.ts'

let told: number[][]
const burst = () =>
  createBurst<number>({ pause: 400, longest: 3000, gap: 3000, tell: (items) => void told.push(items) })

beforeEach(() => {
  vi.useFakeTimers()
  told = []
})

it('tells of what comes together once', () => {
  const { add } = burst()
  add([1])
  vi.advanceTimersByTime(300)
  add([2, 3])
  vi.advanceTimersByTime(399)
  expect(told).toEqual([])
  vi.advanceTimersByTime(1)
  expect(told).toEqual([[1, 2, 3]])
})

it('tells of a stream that doesn’t end every three seconds', () => {
  const { add } = burst()
  for (let i = 0; i < 100; i++) {
    add([i])
    vi.advanceTimersByTime(100)
  }
  expect(told.length).toBe(3)
  vi.advanceTimersByTime(3000)
  expect(told.flat()).toHaveLength(100)
})

it('leaves three seconds between two bursts', () => {
  const { add } = burst()
  add([1])
  vi.advanceTimersByTime(400)
  add([2])
  vi.advanceTimersByTime(2999)
  expect(told).toEqual([[1]])
  vi.advanceTimersByTime(1)
  expect(told).toEqual([[1], [2]])
})

it('tells of nothing where nothing came, or after it was stopped', () => {
  const { add, stop } = burst()
  add([])
  add([1])
  stop()
  vi.advanceTimersByTime(10_000)
  expect(told).toEqual([])
})
