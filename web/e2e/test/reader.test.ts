import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { bell, isLive, items, seen, titles } from '../src/browser.ts'
import { until } from '../src/lender.ts'
import { useLender } from '../src/site.ts'

const { lender, open, device } = useLender()

test('a deep link opens in the app and marks as read; what is no link is none', async () => {
  const user = await lender().person()
  await expect(lender().tell(user, 1, { url: 'javascript:alert(1)' })).rejects.toThrow('url')
  await lender().tell(user, 1, { url: '/loans/4', title: 'With a link' })
  await lender().tell(user, 1, { title: 'Bad action', data: { actions: [{ label: 'Run it', url: 'javascript:alert(1)' }] } })
  await lender().has(user, 2)
  const page = await open(user)
  await bell(page).click()
  await items(page).nth(1).waitFor()
  expect(await page.locator('a[href^="javascript"]').count()).toBe(0)
  expect(await page.getByText('Run it').count()).toBe(0)
  await page.getByRole('link', { name: 'With a link' }).click()
  await until('the router was asked', async () => (await seen(page)).path === '/loans/4')
  await until('it is read', async () => (await lender().inbox(user, 'GET', 'notifications/unread-count')).unread === 1)
})

test('whatever an answer has for a link or a text, nothing of it runs or leads away', async () => {
  const user = await lender().person()
  const markup = '<img src=x onerror="window.ran = true"><b>Bold</b>'
  await lender().tell(user, 4, { title: markup, body: markup })
  await lender().has(user, 4)
  const bad = ['javascript:window.ran=true', 'data:text/html,<script>opener.ran=true</script>', '//elsewhere.example/', 'java\tscript:window.ran=true']
  const browser = await device()
  // The ingest API refuses such links. Here they come from the server all the same.
  await browser.route('**/v1/notifications?**', async (route) => {
    const response = await route.fetch()
    const page = (await response.json()) as { items: object[] }
    const changed = page.items.map((item, i) => ({ ...item, url: bad[i], data: { actions: [{ label: 'Go', url: bad[i], primary: true }] } }))
    await route.fulfill({ response, json: { ...page, items: changed } })
  })
  const page = await open(user, { toasts: '0' }, browser)
  await isLive(page)
  const address = page.url()
  await bell(page).click()
  await items(page).nth(3).waitFor()
  expect(await items(page).locator('a').count()).toBe(0)
  expect(await items(page).getByText('Go', { exact: true }).count()).toBe(0)
  expect(await items(page).locator('img, b').count()).toBe(0)
  expect(await items(page).first().locator('.db-title').textContent()).toContain(markup)
  for (let i = 0; i < 4; i++) await items(page).nth(i).locator('.db-body').click()
  await items(page).first().press('Enter')
  expect(page.url()).toBe(address)
  expect(browser.pages()).toHaveLength(1)
  expect((await seen(page)).path).toBe('')
  expect(await page.evaluate(() => 'ran' in window)).toBe(false)
})

test('the keyboard does all of it, and the focus never gets lost', async () => {
  const user = await lender().person()
  await lender().tell(user, 4)
  await lender().has(user, 4)
  const page = await open(user, { toasts: '0' })
  await isLive(page)
  const focused = () => page.evaluate(() => document.activeElement?.closest('article')?.querySelector('.db-title')?.lastElementChild?.textContent ?? document.activeElement?.className)
  await page.keyboard.press('Tab')
  expect(await focused()).toContain('db-bell')
  await page.keyboard.press('Enter')
  await items(page).nth(3).waitFor()
  const all = await titles(page)
  await page.locator('[role=feed] article').first().focus()
  await page.keyboard.press('PageDown')
  expect(await focused()).toBe(all[1])
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter') // Mark as read
  await until('it is read', async () => (await lender().inbox(user, 'GET', 'notifications/unread-count')).unread === 3)
  expect(await focused()).toBe(all[1])
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter') // Archive
  await until('it is gone', async () => (await titles(page)).length === 3)
  await until('its neighbour has the focus', async () => (await focused()) === all[2])
  await page.keyboard.press('Escape')
  expect(await page.locator('.db-panel').count()).toBe(0)
  expect(await focused()).toContain('db-bell')
  expect((await seen(page)).path).toBe('')
})

test('preferences are kept and are the same on another device', async () => {
  const user = await lender().person()
  const page = await open(user, { view: 'preferences' })
  const overdue = (where: Page) => where.getByRole('switch', { name: 'Overdue payments: E-mail' })
  await overdue(page).click()
  await page.locator('.db-saving', { hasText: 'Saved' }).waitFor()
  await page.getByRole('radio', { name: 'My own' }).check()
  await page.getByLabel('From').fill('22:30')
  await page.getByLabel('From').blur()
  await until('it is stored', async () => {
    const stored = await lender().inbox(user, 'GET', 'preferences')
    return (stored.quiet_hours as { from: string } | null)?.from === '22:30'
  })
  const other = await open(user, { view: 'preferences' })
  await overdue(other).waitFor()
  expect(await overdue(other).isChecked()).toBe(false)
  expect(await other.getByRole('switch', { name: 'Overdue payments: In the app' }).isChecked()).toBe(true)
  expect(await other.getByLabel('From').inputValue()).toBe('22:30')
})
