// Takes the demo's pictures of itself for the README: `DUEBELL_BIN=bin/duebell npm run screens -w demo`, in docs/screens. Fails where axe
// finds something, or the page logs something. The people's names need fonts for Arabic and Devanagari (Debian: fonts-noto-core).
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { AxeBuilder } from '@axe-core/playwright'
import { chromium } from 'playwright-core'
import { launchOptions } from '../scripts/chromium.mjs'

const file = (path) => fileURLToPath(new URL(path, import.meta.url))
const program = process.env.DUEBELL_BIN ?? file('../../bin/duebell')
const pictures = file('../../docs/screens/')
const rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
const wrong = []

/** A demo of its own for each picture: all begin on the same Monday. */
async function withDemo(show) {
  const demo = spawn(program, ['demo', '--port', '0'], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise((resolve) => demo.once('exit', resolve))
  try {
    const address = await new Promise((resolve, reject) => {
      let said = ''
      demo.stdout.on('data', (part) => {
        const found = /http:\/\/localhost:\d+\//.exec((said += part))
        if (found) resolve(found[0])
      })
      ended.then((code) => reject(new Error(`${program} demo ended with ${code}`)))
      demo.once('error', reject)
    })
    await show(address)
  } finally {
    demo.kill('SIGTERM')
    await ended
  }
}

/** What axe finds in the page and in its frames. It gives each frame a second, and leaves out those that were busy. */
async function findings(page) {
  for (let tries = 0; tries < 10; tries++) {
    const { violations, incomplete } = await new AxeBuilder({ page }).withTags(rules).analyze()
    if (!incomplete.some(({ id }) => id === 'frame-tested')) return violations
  }
  throw new Error('axe never got into all frames')
}

async function picture(browser, name, options, steps) {
  await withDemo(async (address) => {
    const context = await browser.newContext({ reducedMotion: 'reduce', deviceScaleFactor: 2, ...options })
    context.setDefaultTimeout(60_000)
    const page = await context.newPage()
    page.on('console', (message) => wrong.push(`${name}: ${message.type()}: ${message.text()}`))
    page.on('pageerror', (error) => wrong.push(`${name}: ${error.message}`))
    await page.goto(address)
    const device = page.frameLocator('iframe').first()
    await device.locator('.overview').waitFor({ state: 'attached' }) // on a phone it isn't in sight yet
    await steps(page, device)
    await page.waitForTimeout(2500) // all parts have asked again
    await page.screenshot({ path: `${pictures}${name}.png` })
    const violations = await findings(page)
    for (const { id, help, nodes } of violations) wrong.push(`${name}: ${id}: ${help}: ${nodes.map(({ target }) => target.join(' ')).join(', ')}`)
    await context.close()
    console.log(`docs/screens/${name}.png`)
  })
}

/** So many notifications are on the bell's badge. */
const badge = (place, least) => place.locator('.db-badge').filter({ hasText: new RegExp(`^(${least}|\\d{2,})`) }).first().waitFor()
const status = (page, row) => page.getByRole('button', { name: 'Change status' }).nth(row).click()
const pay = (page, row) => page.getByRole('button', { name: 'Pay part' }).nth(row).click()
const toastsGone = (device) => device.locator('.db-toasts li').first().waitFor({ state: 'detached' })

async function busyDay(page, device) {
  for (const row of [3, 1, 1, 2, 2, 2, 0, 0]) {
    await status(page, row)
    await page.locator('.customers .button:disabled').first().waitFor({ state: 'detached' })
  }
  await pay(page, 0)
  await badge(device, '[3-9]')
}

const desk = { viewport: { width: 1440, height: 900 } }
const browser = await chromium.launch(launchOptions)
try {
  await picture(browser, 'demo', { ...desk, colorScheme: 'light' }, async (page, device) => {
    await busyDay(page, device)
    await toastsGone(device)
    await device.locator('.db-bell').click()
    await device.locator('.db-item').nth(2).waitFor()
  })
  await picture(browser, 'demo-dark', { ...desk, colorScheme: 'dark' }, async (page, device) => {
    await page.getByRole('button', { name: 'Second device' }).click()
    const second = page.frameLocator('iframe').nth(1)
    await second.locator('.overview').waitFor()
    await status(page, 0)
    await badge(second, '[1-9]')
    await second.locator('.db-bell').click()
    await second.locator('.db-item').first().waitFor()
    await page.getByRole('button', { name: 'Cut connection' }).nth(1).click()
    await busyDay(page, device)
    await second.locator('.db-banner').waitFor()
    await toastsGone(device)
    await device.locator('.pages button').nth(1).click()
    await device.locator('.db-item').nth(2).waitFor()
  })
  await picture(browser, 'demo-phone', { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, colorScheme: 'light' }, async (page, device) => {
    await status(page, 0)
    await page.locator('.views button').nth(1).click()
    await badge(device, '[2-9]')
    await toastsGone(device)
  })
  await picture(browser, 'demo-rtl', { ...desk, colorScheme: 'light' }, async (page, device) => {
    await page.locator('.device-head select').selectOption('noor')
    await device.locator('.portal').waitFor()
    await status(page, 3)
    await status(page, 1)
    await device.locator('.db-badge').waitFor() // in Arabic digits
    await toastsGone(device)
    await device.locator('.db-bell').click()
    await device.locator('.db-item').first().waitFor()
  })
} finally {
  await browser.close()
}
if (wrong.length) {
  console.error(wrong.join('\n'))
  process.exitCode = 1
}
