import { expect, test } from 'vitest'
import { badge, bell, isLive, items, seen, titles } from '../src/browser.ts'
import { until } from '../src/lender.ts'
import { useLender } from '../src/site.ts'
import { watchWire } from '../src/wire.ts'

const { lender, open, device } = useLender()

test('a notification appears on the open page by itself, with its toast and badge, once', async () => {
  const user = await lender().person()
  const page = await open(user)
  await isLive(page)
  const [title] = await lender().tell(user, 1, { url: '/loans/4' })
  await page.locator('.db-toasts .db-title', { hasText: title }).waitFor()
  expect(await badge(page).textContent()).toBe('1')
  expect(await page.title()).toBe('(1) Lakeside Lending')
  const icon = page.locator('link[rel=icon]')
  await until('the icon has a dot', async () => (await icon.getAttribute('href'))?.startsWith('data:image/png'))
  await bell(page).click()
  await items(page).first().waitFor()
  expect(await titles(page)).toEqual([title])
  await badge(page).waitFor({ state: 'detached' }) // it was looked at
  await until('the icon has none', async () => (await icon.getAttribute('href'))?.startsWith('data:image/svg'))
  expect((await seen(page)).fresh).toEqual([title])
})

test('two tabs share one socket, and nobody else sees what is theirs', async () => {
  const [ada, bob] = [await lender().person(), await lender().person()]
  const browser = await device()
  const wire = watchWire(browser)
  const first = await open(ada, {}, browser)
  await isLive(first)
  const second = await open(ada, {}, browser)
  await isLive(second)
  const other = await open(bob)
  await isLive(other)
  const told = await lender().tell(ada, 3)
  for (const page of [first, second]) {
    await until('the badge says 3', async () => (await badge(page).textContent()) === '3')
    expect((await seen(page)).fresh).toEqual(told)
  }
  expect(wire.sockets).toBe(1)
  expect(await badge(other).count()).toBe(0)
  await lender().tell(bob, 1)
  await until('his own arrives', async () => (await badge(other).textContent()) === '1')
  expect((await seen(other)).fresh).toHaveLength(1)

  await first.close() // whichever had the socket
  const [last] = await lender().tell(ada, 1)
  await until('the tab that is left goes on', async () => (await seen(second)).fresh.includes(last ?? '?'))
  expect((await seen(second)).fresh).toEqual([...told, last])
})

test('what is read on one device is read on the other', async () => {
  const user = await lender().person()
  const [title] = await lender().tell(user, 2)
  await lender().has(user, 2)
  const [phone, pocket] = [await open(user), await open(user)]
  for (const page of [phone, pocket]) await until('the badge says 2', async () => (await badge(page).textContent()) === '2')
  await bell(phone).click()
  await badge(pocket).waitFor({ state: 'detached' }) // the list was looked at
  const desk = await open(user, { view: 'pages' })
  await desk.locator('.db-view article[data-unread=true]').nth(1).waitFor()
  const item = items(phone).filter({ hasText: title })
  await item.getByRole('button', { name: 'Mark as read' }).click()
  await desk.locator('.db-view article[data-unread=false]', { hasText: title }).waitFor()
  expect(await desk.locator('.db-view article[data-unread=true]').count()).toBe(1)
  expect(await desk.getByRole('tab', { name: 'Unread' }).textContent()).toContain('1')
  expect(await badge(desk).count()).toBe(0)
})

test('twenty that arrive in one go are one announcement and one toast', async () => {
  const user = await lender().person()
  const browser = await device()
  await browser.clock.install()
  const page = await open(user, {}, browser)
  await isLive(page)
  await page.clock.pauseAt(Date.now() + 5000) // whatever the machine takes, it is one moment for the page
  await lender().tell(user, 20)
  await until('all are here', async () => (await seen(page)).fresh.length === 20)
  await page.clock.runFor(30_000)
  expect((await seen(page)).said).toEqual(['20 new notifications'])
  expect(await page.locator('.db-toasts li .db-title').allTextContents()).toEqual(['20 new notifications'])
})

test('numbered pages keep their counts while more arrives', async () => {
  const user = await lender().person()
  await lender().tell(user, 25)
  await lender().has(user, 25)
  const page = await open(user, { view: 'pages', toasts: '0' })
  await page.getByText('1–10 of 25').waitFor()
  await page.getByRole('button', { name: 'Page 3' }).click()
  await page.getByText('21–25 of 25').waitFor()
  await until('the page is there', async () => (await titles(page)).length === 5)
  const before = await titles(page)
  const told = await lender().tell(user, 6)
  await page.getByText('of 31').waitFor()
  await page.getByRole('button', { name: 'Page 4' }).waitFor()
  // Nothing moved under the reader: what the rows of a page that grew are filled up with comes below.
  expect((await titles(page)).slice(0, 5)).toEqual(before)
  await page.getByRole('button', { name: '6 new notifications' }).click()
  await page.getByText('1–10 of 31').waitFor()
  expect((await titles(page)).slice(0, 6)).toEqual(told.toReversed())
})
