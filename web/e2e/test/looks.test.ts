import { expect, test } from 'vitest'
import { axeFindsNothing } from '../src/axe.ts'
import { badge, bell, isLive, items } from '../src/browser.ts'
import { useLender } from '../src/site.ts'

const { lender, open, device } = useLender()

test('Arabic runs from right to left, the badge at the far side of the bell', async () => {
  const user = await lender().person('ar')
  await lender().tell(user, 2)
  await lender().has(user, 2)
  const sides: number[] = []
  for (const locale of ['en', 'ar']) {
    const page = await open(user, { locale, toasts: '0' })
    await isLive(page)
    await lender().tell(user)
    await badge(page).waitFor()
    const [of, on] = [await bell(page).boundingBox(), await badge(page).boundingBox()]
    if (!of || !on) throw new Error('the bell has no box')
    sides.push(Math.sign(on.x + on.width / 2 - (of.x + of.width / 2)))
    expect(await page.locator('.db-center').getAttribute('dir')).toBe(locale === 'ar' ? 'rtl' : 'ltr')
    await bell(page).click()
    await items(page).nth(1).waitFor()
    const panel = await page.locator('.db-panel').boundingBox()
    const width = page.viewportSize()?.width ?? 0
    expect(panel && panel.x >= 0 && panel.x + panel.width <= width).toBe(true)
    if (locale === 'ar') expect(await page.locator('.db-head h2').first().textContent()).toMatch(/[\u0600-\u06ff]/)
    await page.keyboard.press('Escape') // else what is told to the next page is seen here
  }
  expect(sides).toEqual([1, -1])
})

test('it is dark where the reader wants it dark', async () => {
  const user = await lender().person()
  const lightness: number[] = []
  for (const colorScheme of ['light', 'dark'] as const) {
    const page = await open(user, {}, await device({ colorScheme }))
    await isLive(page)
    await bell(page).click()
    await page.locator('.db-state').waitFor()
    const color = await page.locator('.db-panel').evaluate((panel) => getComputedStyle(panel).backgroundColor)
    lightness.push(Number(/\d+/.exec(color)?.[0]))
    await axeFindsNothing(page)
  }
  expect(lightness[0]).toBeGreaterThan(200)
  expect(lightness[1]).toBeLessThan(60)
})

test('on a phone nothing hangs out and everything can be hit', async () => {
  const user = await lender().person()
  await lender().tell(user, 14, { title: 'Your application for a home loan in Lakeside was approved', url: '/applications/1' })
  await lender().has(user, 14)
  const phone = await device({ viewport: { width: 390, height: 800 }, hasTouch: true, isMobile: true })
  for (const view of ['', 'pages', 'preferences']) {
    const page = await open(user, { view }, phone)
    await isLive(page)
    if (!view) await bell(page).click()
    await page.locator(view === 'preferences' ? '.db-form' : 'article').first().waitFor()
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390)
    const small = await page
      .locator('.db button:visible, .db input:visible, .db select:visible')
      .evaluateAll((all) =>
        all
          .filter((one) => !one.closest('.db-sr'))
          .map((one) => ({ box: one.getBoundingClientRect(), html: one.outerHTML.slice(0, 120), label: one.closest('label')?.getBoundingClientRect() }))
          .filter(({ box, label }) => Math.min(box.width, box.height, 24) < 24 && !(label && Math.min(label.width, label.height) >= 24))
          .map(({ html }) => html),
      )
    expect(small).toEqual([])
    // What is to be read has the room, not the buttons beside it.
    for (const card of await page.locator('article .db-card').all()) {
      const [all, text] = [await card.boundingBox(), await card.locator('.db-text').boundingBox()]
      expect((text?.width ?? 0) / (all?.width ?? 1)).toBeGreaterThan(0.55)
    }
  }
})
