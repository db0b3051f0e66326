import { expect, it } from 'vitest'
import { pageCount, pageNumbers } from '../src/pages.ts'

it('counts at least one page and at most as many as are served', () => {
  expect([0, 1, 20, 21, 1_000_000].map((total) => pageCount(total, 20))).toEqual([1, 1, 1, 2, 100])
})

it('offers the first, the last and the neighbours; a gap is never a single number', () => {
  expect(pageNumbers(1, 1)).toEqual([1])
  expect(pageNumbers(1, 9)).toEqual([1, 2, 0, 9])
  expect(pageNumbers(4, 9)).toEqual([1, 2, 3, 4, 5, 0, 9])
  expect(pageNumbers(5, 9)).toEqual([1, 0, 4, 5, 6, 0, 9])
  expect(pageNumbers(6, 9)).toEqual([1, 0, 5, 6, 7, 8, 9])
  for (let pages = 1; pages < 30; pages++)
    for (let page = 1; page <= pages; page++) {
      const numbers = pageNumbers(page, pages)
      expect(numbers).toContain(page)
      numbers.forEach((n, i) => n || expect((numbers[i + 1] ?? 0) - (numbers[i - 1] ?? 0)).toBeGreaterThan(2))
    }
})
