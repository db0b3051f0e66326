import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect } from 'vitest'

/** What the page notes of itself: app/main.ts. */
export interface Seen {
  tokens: string[]
  states: string[]
  fresh: string[]
  said: string[]
  path: string
}

/** A page of a test, with what it said. */
interface Opened {
  user: string
  page: Page
  console: string[]
}

/** What the pages of a test that failed looked like, for whoever reads the log. */
async function photograph(opened: Opened[]): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'duebell-e2e-'))
  for (const [i, { user, page, console: lines }] of opened.entries()) {
    const name = join(folder, `${i + 1}-${user}`)
    writeFileSync(`${name}.txt`, [page.url(), ...lines, ''].join('\n'))
    // A page that hangs has none.
    await page.screenshot({ path: `${name}.png`, timeout: 5000 }).catch(() => {})
  }
  console.error(`the pages and what their consoles said: ${folder}`)
}

/**
 * A browser for a file of tests. Each device is a context of its own; all close after the test, which fails if a page threw
 * something or wanted what its policy forbids.
 */
export function useBrowser(address: () => string) {
  let browser: Browser
  const devices: BrowserContext[] = []
  const opened: Opened[] = []
  const faults: string[] = []
  beforeAll(async () => {
    browser = await chromium.connect(process.env.DUEBELL_E2E_BROWSER ?? '')
  })
  afterEach(async ({ task }) => {
    const all = opened.splice(0)
    if (all.length && (task.result?.state === 'fail' || faults.length)) await photograph(all)
    await Promise.all(devices.splice(0).map((device) => device.close()))
    expect(faults.splice(0)).toEqual([])
  })
  afterAll(() => browser.close())

  async function device(options: BrowserContextOptions = {}): Promise<BrowserContext> {
    const context = await browser.newContext({ reducedMotion: 'reduce', ...options })
    context.setDefaultTimeout(20_000)
    devices.push(context)
    return context
  }

  /** A page of a person. */
  async function open(user: string, query: Record<string, string> = {}, context?: BrowserContext): Promise<Page> {
    const page = await (context ?? (await device())).newPage()
    const lines: string[] = []
    opened.push({ user, page, console: lines })
    page.on('console', (message) => {
      lines.push(`${message.type()}: ${message.text()}`)
      if (message.text().includes('Content Security Policy')) faults.push(message.text())
    })
    page.on('pageerror', (error) => {
      lines.push(`uncaught: ${error.stack ?? error.message}`)
      faults.push(error.message)
    })
    await page.goto(`${address()}&${new URLSearchParams({ user, ...query })}`)
    return page
  }

  return { device, open }
}

export const seen = (page: Page): Promise<Seen> => page.evaluate(() => (window as unknown as { seen: Seen }).seen)

export const bell = (page: Page) => page.locator('.db-bell')
export const badge = (page: Page) => page.locator('.db-badge')
export const items = (page: Page) => page.locator('article.db-item')
export const titles = (page: Page): Promise<string[]> =>
  page.locator('article.db-item .db-title').evaluateAll((all) => all.map((one) => one.lastElementChild?.textContent ?? ''))
export const isLive = (page: Page) => page.locator('.bar[data-state=live]').waitFor()
