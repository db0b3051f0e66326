import { randomUUID } from 'node:crypto'
import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { badge, bell, isLive, items, seen, titles } from '../src/browser.ts'
import { until } from '../src/lender.ts'
import { useLender } from '../src/site.ts'
import { holdLists, holdWire, watchWire } from '../src/wire.ts'

const { lender, open, device } = useLender()

const has = (page: Page, count: number) => until(`${count} are here`, async () => (await seen(page)).fresh.length === count)
const freeze = (page: Page) => page.evaluate(() => document.dispatchEvent(new Event('freeze')))

/** The newest ones as the server has them. */
async function stored(user: string): Promise<{ id: string; title: string; read_at: string | null }[]> {
  const { items } = await lender().inbox(user, 'GET', 'notifications?limit=100')
  return items as never
}

test('a list that comes after what it lacks shows each item once, in its present state', async () => {
  const user = await lender().person()
  const old = await lender().tell(user, 5)
  await lender().has(user, 5)
  const browser = await device()
  const lists = await holdLists(browser)
  const page = await open(user, { toasts: '0' }, browser)
  await isLive(page)
  await bell(page).click()
  await until('the list was read', async () => lists.asked > 0)
  // Now it is behind by fifteen, one that was read and one that was archived.
  const [newest, next] = await stored(user)
  await lender().inbox(user, 'POST', `notifications/${newest?.id}/read`)
  await lender().inbox(user, 'POST', `notifications/${next?.id}/archive`)
  const told = await lender().tell(user, 15)
  await has(page, 15)
  lists.release()
  const expected = [...old.filter((title) => title !== next?.title), ...told].toReversed()
  await until('the list is here', async () => (await titles(page)).length >= expected.length)
  expect(await titles(page)).toEqual(expected)
  expect(await items(page).filter({ hasText: newest?.title }).first().getAttribute('data-unread')).toBe('false')
})

test('a list that comes before the frames of what it has shows each item once, and each is told of', async () => {
  const user = await lender().person()
  const browser = await device()
  const wire = await holdWire(browser)
  const page = await open(user, { toasts: '0' }, browser)
  await isLive(page)
  wire.hold()
  const told = await lender().tell(user, 12)
  await lender().has(user, 12)
  await until('frames are held', async () => wire.held() > 0)
  await bell(page).click()
  await items(page).nth(11).waitFor()
  expect((await seen(page)).fresh).toEqual([])
  wire.release()
  await has(page, 12)
  expect((await seen(page)).fresh).toEqual(told)
  expect(await titles(page)).toEqual(told.toReversed())
})

test('a list that is opened between two frames of a catch-up shows each item once', async () => {
  const user = await lender().person()
  const browser = await device()
  const wire = await holdWire(browser)
  const page = await open(user, { toasts: '0' }, browser)
  await isLive(page)
  await freeze(page)
  await page.locator('.bar[data-state=offline]').waitFor()
  const told = await lender().tell(user, 130) // a frame has at most a hundred
  await lender().has(user, 130)
  wire.hold(1)
  await page.evaluate(() => document.dispatchEvent(new Event('resume')))
  await until('the second frame is held', async () => wire.held() > 0)
  await page.locator('.bar[data-state=catching_up]').waitFor()
  await bell(page).click()
  await items(page).nth(19).waitFor()
  const more = await lender().tell(user, 3)
  wire.release()
  await isLive(page)
  await has(page, 133)
  const all = [...told, ...more]
  expect((await seen(page)).fresh).toEqual(all)
  const shown = await titles(page)
  expect(shown).toEqual(all.toReversed().slice(0, shown.length))
  expect(shown.length).toBeGreaterThanOrEqual(20)
})

test('what was being told while the server was killed, twice, arrives once and in order, and no frame is missing from the chain', async () => {
  const user = await lender().person()
  const browser = await device()
  const wire = watchWire(browser)
  const page = await open(user, { toasts: '0' }, browser)
  await isLive(page)
  const told = Array.from({ length: 60 }, (_, i) => `Word ${i}`)
  // As a loan system does it: the same again until there is an answer.
  const telling = (async () => {
    for (const title of told) {
      const notification = { id: randomUUID(), user_id: user, kind: 'message', title, body: 'Text.' }
      await until(`${title} was taken`, async () => (await lender().ingest('POST', 'notifications', notification), true))
    }
  })()
  for (const count of [10, 30]) {
    await until(`${count} are here`, async () => (await seen(page)).fresh.length >= count)
    await lender().stop('SIGKILL')
    await lender().start()
  }
  await telling
  await has(page, told.length)
  expect((await seen(page)).fresh).toEqual(told)
  expect(wire.gaps).toEqual([])
  expect(wire.sockets).toBeGreaterThanOrEqual(2) // three, unless it was killed again before the page was back
  expect(wire.changes).toBeGreaterThan(2)
  await isLive(page)
  await until('the badge', async () => (await badge(page).textContent()) === String(told.length))
})
