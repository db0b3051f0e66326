import { nextTick } from 'vue'
import { afterEach, expect, it, vi } from 'vitest'
import { useBadge } from '../src/index.ts'
import { badgedTitle } from '../src/composables/useBadge.ts'
import { createFakeClient } from './fakeClient.ts'
import { run, settle } from './setup.ts'

afterEach(() => {
  document.title = ''
  document.head.innerHTML = ''
})

it('puts the count before a title once, and takes it away', () => {
  expect(badgedTitle('Loans', 3)).toBe('(3) Loans')
  expect(badgedTitle('(3) Loans', 4)).toBe('(4) Loans')
  expect(badgedTitle('(99+) Loans', 0)).toBe('Loans')
  expect(badgedTitle('Loans', 100)).toBe('(99+) Loans')
  expect(badgedTitle('(2026) Report', 0)).toBe('Report')
})

it('follows the count, and keeps it when the app changes the title', async () => {
  document.title = 'Loans'
  const badges: number[] = []
  Object.assign(navigator, { setAppBadge: (n: number) => Promise.resolve(void badges.push(n)) })
  const client = createFakeClient([{}, {}])
  run(() => useBadge(), {}, client)
  await settle()
  expect(document.title).toBe('(2) Loans')
  document.title = 'Loan 7'
  await vi.waitFor(() => expect(document.title).toBe('(2) Loan 7'))
  await client.seen()
  await nextTick()
  expect([document.title, badges.at(-1)]).toEqual(['Loan 7', 0])
})

it('gives the icon back where it can’t draw on it, and when it is over', async () => {
  document.head.innerHTML = '<link rel="icon" href="/icon.svg">'
  const link = document.querySelector('link')
  run(() => useBadge({ title: false }), {}, createFakeClient([{}]))
  await settle()
  expect(link?.href).toContain('/icon.svg')
})
