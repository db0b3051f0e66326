import type { Page } from 'playwright-core'
import { describe, test } from 'vitest'
import { axeFindsNothing } from '../src/axe.ts'
import { badge, bell, isLive, items } from '../src/browser.ts'
import { useLender } from '../src/site.ts'

const { lender, open, device } = useLender()

/** Somebody who was told so much. */
async function told(count: number): Promise<string> {
  const user = await lender().person()
  const data = { actions: [{ label: 'Sign now', url: '/sign', primary: true }, { label: 'Terms', url: '/terms' }] }
  await lender().tell(user, count, { kind: 'application.status_changed', url: '/applications/1', data })
  await lender().has(user, count)
  return user
}

const lists = '**/v1/notifications?**'
const answers: (() => void)[] = [] // that are kept back

/** How the screen gets into each of its states. */
const states: Record<string, (query: Record<string, string>) => Promise<Page>> = {
  async closed(query) {
    const page = await open(await told(3), query)
    await isLive(page)
    await badge(page).waitFor()
    return page
  },
  async open(query) {
    const page = await states.closed!(query)
    await bell(page).click()
    await items(page).nth(2).waitFor()
    await items(page).nth(1).hover()
    return page
  },
  async 'what was done can be undone'(query) {
    const page = await states.open!(query)
    await page.locator('.db-head .db-link').click()
    await page.locator('.db-notice').waitFor()
    await page.locator('article[data-unread=true]').first().waitFor({ state: 'detached' })
    return page
  },
  async empty(query) {
    const page = await open(await lender().person(), query)
    await isLive(page)
    await bell(page).click()
    await page.locator('.db-state:not(:has(button))').waitFor()
    return page
  },
  async loading(query) {
    const slow = await device()
    const held = new Promise<void>((resolve) => answers.push(resolve))
    await slow.route(lists, async (route) => {
      await held
      await route.abort()
    })
    const page = await open(await lender().person(), query, slow)
    await isLive(page)
    await bell(page).click()
    await page.locator('.db-skeleton').waitFor()
    return page
  },
  async failed(query) {
    const broken = await device()
    await broken.route(lists, (route) => route.fulfill({ status: 500 }))
    const page = await open(await lender().person(), query, broken)
    await isLive(page)
    await bell(page).click()
    await page.locator('.db-state button').waitFor()
    return page
  },
  async offline(query) {
    const browser = await device()
    const page = await open(await told(2), query, browser)
    await isLive(page)
    await bell(page).click()
    await items(page).nth(1).waitFor()
    await browser.setOffline(true)
    await page.locator('.db-banner[data-state=offline]').waitFor()
    return page
  },
  async refused(query) {
    const page = await open(await lender().person(), { ...query, dead: '1' })
    await page.locator('.bar[data-state=refused]').waitFor()
    await bell(page).click()
    await page.locator('.db-banner[data-state=refused]').waitFor()
    await page.locator('.db-state button').waitFor()
    return page
  },
  async 'numbered pages'(query) {
    const page = await open(await told(23), { ...query, view: 'pages' })
    await items(page).nth(9).waitFor()
    await page.locator('.db-pager button').first().waitFor()
    return page
  },
  async 'endless page'(query) {
    const page = await open(await told(12), { ...query, view: 'endless' })
    await items(page).nth(9).waitFor()
    return page
  },
  async preferences(query) {
    const page = await open(await lender().person(), { ...query, view: 'preferences' })
    await page.locator('.db-form').waitFor()
    return page
  },
  async toasts(query) {
    const user = await lender().person()
    const page = await open(user, query)
    await isLive(page)
    await lender().tell(user, 1, { url: '/loans/4' })
    await page.locator('.db-toasts li').waitFor()
    return page
  },
}

describe.each([
  { locale: 'en', theme: 'light' },
  { locale: 'ar', theme: 'dark' },
])('axe finds nothing: $locale, $theme', (query) => {
  test.each(Object.keys(states))('%s', async (state) => {
    try {
      await axeFindsNothing(await states[state]!(query))
    } finally {
      for (const answer of answers.splice(0)) answer()
    }
  })
})
