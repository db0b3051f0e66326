import { expect, test } from 'vitest'
import { badge, bell, isLive, items, seen, titles } from '../src/browser.ts'
import { until } from '../src/lender.ts'
import { useLender } from '../src/site.ts'

const { lender, open, device } = useLender()

test('a server that is killed comes back with what was missed, once and in order', async () => {
  const user = await lender().person()
  const page = await open(user)
  await isLive(page)
  const before = await lender().tell(user, 2)
  await until('they are here', async () => (await seen(page)).fresh.length === 2)
  await lender().stop('SIGKILL')
  await page.locator('.bar[data-state=offline], .bar[data-state=connecting]').waitFor()
  await bell(page).click()
  await page.locator('.db-banner').waitFor()
  await lender().start()
  const after = await lender().tell(user, 3)
  await isLive(page)
  await until('all are here', async () => (await seen(page)).fresh.length === 5)
  expect((await seen(page)).fresh).toEqual([...before, ...after])
  await page.locator('.db-banner').waitFor({ state: 'detached' })
  await items(page).nth(4).waitFor()
  expect(await titles(page)).toEqual([...before, ...after].toReversed())
})

test('a laptop that slept while thirty arrived shows them once, in order, in one toast', async () => {
  const user = await lender().person()
  const page = await open(user)
  await isLive(page)
  await lender().tell(user, 1)
  await until('the first is here', async () => (await seen(page)).fresh.length === 1)
  await page.locator('.db-toasts').getByRole('button', { name: 'Close' }).click()
  // A stopped debugger is what a frozen page is: no timer and no message runs, while the network's side of it goes on.
  const debug = await page.context().newCDPSession(page)
  await debug.send('Debugger.enable')
  const paused = new Promise((resolve) => debug.once('Debugger.paused', resolve))
  await debug.send('Debugger.pause')
  void page.evaluate(() => 0).catch(() => {}) // something to stop at
  await paused
  const missed = await lender().tell(user, 30)
  await lender().has(user, 31)
  await debug.send('Debugger.resume')
  await debug.send('Debugger.disable')
  await until('all are here', async () => (await seen(page)).fresh.length === 31)
  expect((await seen(page)).fresh.slice(1)).toEqual(missed)
  await until('the badge', async () => (await badge(page).textContent()) === '31')
  await page.locator('.db-toasts li').first().waitFor()
  expect(await page.locator('.db-toasts li').count()).toBe(1)
  expect(await page.locator('.db-toasts li').textContent()).toContain('30 new notifications')
})

test('a page that was frozen by the browser lets go of its connection and comes back', async () => {
  const user = await lender().person()
  const page = await open(user)
  await isLive(page)
  await page.evaluate(() => document.dispatchEvent(new Event('freeze')))
  await page.locator('.bar[data-state=offline]').waitFor()
  const missed = await lender().tell(user, 30)
  await lender().has(user, 30)
  await page.evaluate(() => document.dispatchEvent(new Event('resume')))
  await until('all are here', async () => (await seen(page)).fresh.length === 30)
  expect((await seen(page)).fresh).toEqual(missed)
  await page.locator('.db-toasts', { hasText: '30 new notifications' }).waitFor()
  expect(await page.locator('.db-toasts li').count()).toBe(1)
  expect(await badge(page).textContent()).toBe('30')
})

test('without a network it says so, and goes on by itself afterwards', async () => {
  const user = await lender().person()
  const browser = await device()
  const page = await open(user, { view: 'pages' }, browser)
  await isLive(page)
  await browser.setOffline(true)
  await page.locator('.db-banner[data-state=offline]').first().waitFor()
  const told = await lender().tell(user, 2)
  await browser.setOffline(false)
  await isLive(page)
  await until('they are here', async () => (await seen(page)).fresh.length === 2)
  expect((await seen(page)).fresh).toEqual(told)
  await page.locator('.db-banner').waitFor({ state: 'detached' })
})

test('a reload shows what came meanwhile as new, and nothing twice', async () => {
  const user = await lender().person()
  const page = await open(user)
  await isLive(page)
  await lender().tell(user, 2)
  await until('they are here', async () => (await seen(page)).fresh.length === 2)
  await page.goto('about:blank')
  const missed = await lender().tell(user, 3)
  await lender().has(user, 5)
  await page.goBack()
  await until('what was missed is here', async () => (await seen(page)).fresh.length >= 3)
  await page.waitForTimeout(500)
  expect((await seen(page)).fresh.slice(-3)).toEqual(missed)
  expect(new Set((await seen(page)).fresh).size).toBe((await seen(page)).fresh.length)
})

test('a list that is opened at the moment of a catch-up shows each item once', async () => {
  const user = await lender().person()
  const browser = await device()
  const page = await open(user, { toasts: '0' }, browser)
  await isLive(page)
  let total = 0
  for (let round = 0; round < 4; round++) {
    await page.evaluate(() => document.dispatchEvent(new Event('freeze')))
    await page.locator('.bar[data-state=offline]').waitFor()
    await lender().tell(user, 12)
    await lender().has(user, (total += 12))
    // More arrives while it resumes and while the list is fetched; every other time that waits for the catch-up.
    const late = '**/v1/notifications?**'
    if (round % 2) {
      await page.route(late, async (route) => {
        await until('it has caught up', async () => (await seen(page)).fresh.length >= total)
        await route.continue()
      })
    }
    const [told] = await Promise.all([
      lender().tell(user, 6),
      page.evaluate(() => {
        document.dispatchEvent(new Event('resume'))
        document.querySelector<HTMLElement>('.db-bell')?.click()
      }),
    ])
    total += told.length
    await lender().has(user, total)
    await until('it is all here', async () => (await seen(page)).fresh.length === total)
    await page.locator('.db-scroll').evaluate((box) => box.scrollTo(0, 0))
    await until('the newest are on top', async () => (await titles(page))[0] === told.at(-1))
    const shown = await titles(page)
    expect(shown.slice(0, 6)).toEqual(told.toReversed())
    expect(new Set(shown).size).toBe(shown.length)
    await page.keyboard.press('Escape')
    await page.unroute(late)
  }
})
