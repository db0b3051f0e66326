import { expect, test } from 'vitest'
import { badge, bell, isLive, items, seen, titles } from '../src/browser.ts'
import { until } from '../src/lender.ts'
import { useLender } from '../src/site.ts'

// An hour is a second here: 9 o'clock of the next day isn't far.
const { lender, open } = useLender(['--clock', '2026-03-09T20:00:00Z', '--speed', '3600'])

test('a reminder of a due installment appears on the open page by itself; a payment settles it', async () => {
  const user = 'ada'
  await lender().ingest('PUT', `users/${user}`, { name: 'Ada Novak', time_zone: 'UTC', locale: 'en' })
  const page = await open(user)
  await isLive(page)
  expect(await badge(page).count()).toBe(0)
  await lender().ingest('PUT', 'loans/L-4', { borrower_id: user, product: 'Home loan', currency: 'EUR', status: 'active' })
  const installment = { number: 1, due_date: '2026-03-13', amount_due: '250.00', amount_paid: '0.00' }
  await lender().ingest('PUT', 'loans/L-4/installments', [installment])
  // Three days before or, where the machine was slow, one.
  await until('the reminder is here', async () => (await seen(page)).fresh.length >= 1, 60_000)
  expect(await badge(page).textContent()).toMatch(/^[12]$/)
  await bell(page).click()
  await items(page).first().waitFor()
  const [newest] = await titles(page)
  expect(newest).toContain('250.00')
  await lender().ingest('POST', 'payments', { id: 'pay-1', loan_id: 'L-4', amount: '250.00', paid_at: '2026-03-10T09:05:00Z' })
  await page.locator('article[data-settled=true]').first().waitFor()
  const reminders = (await seen(page)).fresh
  expect(new Set(reminders).size).toBe(reminders.length)
})
