import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { badge, bell, items, titles } from '../src/browser.ts'
import { until } from '../src/lender.ts'
import { useLender } from '../src/site.ts'

const { lender, open } = useLender()

test('ten thousand unread ones are no trouble', async () => {
  const user = await lender().person()
  const total = 10_000
  const changes = Array.from({ length: total }, (_, i) => ({
    id: randomUUID(),
    application_id: `A${i + 1}`,
    borrower_id: user,
    from: 'under_review',
    to: 'approved',
    occurred_at: '2026-11-25T10:00:00Z',
  }))
  await lender().ingest('POST', 'import/status-changes', changes)
  await lender().has(user, total, 120_000)

  const page = await open(user)
  await until('the badge is capped', async () => (await badge(page).textContent()) === '99+')
  expect(await bell(page).getAttribute('aria-label')).toBe('Notifications, 10,000 new')
  await bell(page).click()
  await items(page).nth(19).waitFor()
  for (const least of [39, 59]) {
    await page.locator('.db-scroll').evaluate((box) => box.scrollTo(0, box.scrollHeight))
    await items(page).nth(least).waitFor()
  }
  const shown = await titles(page)
  expect(new Set(shown).size).toBe(shown.length)
  await page.keyboard.press('Escape')

  const desk = await open(user, { view: 'pages' })
  await desk.getByText('1–10 of 10,000').waitFor()
  expect(await desk.getByRole('tab', { name: 'Unread' }).textContent()).toContain('10,000')
  await desk.locator('.db-view').getByRole('button', { name: 'Mark all as read' }).click()
  await desk.getByText('Mark all 10,000 as read?').waitFor() // it can't be undone, so it asks
  await desk.getByRole('group', { name: 'Mark all 10,000' }).getByRole('button', { name: 'Mark all as read' }).click()
  await until('none is unread', async () => (await lender().inbox(user, 'GET', 'notifications/unread-count')).unread === 0)
  await until('nor here', async () => (await desk.locator('.db-view article[data-unread=true]').count()) === 0)
  await bell(page).click()
  await until('nor on the other device', async () => (await page.locator('.db-center article[data-unread=true]').count()) === 0)
}, 240_000)
