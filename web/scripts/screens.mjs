// Photographs the components as web/vue's stories show them into docs/screens/components: light, dark, from right to left and on a
// phone. The clock of the pages stands still, so that a picture changes only where a component did.
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import { build, preview } from 'vite'
import { launchOptions } from './chromium.mjs'

const file = (path) => fileURLToPath(new URL(path, import.meta.url))
const target = process.argv[2] ?? file('../../docs/screens/components')
const now = new Date('2026-03-11T10:24:00Z')
const mostBytes = 150_000

const desk = { viewport: { width: 900, height: 700 } }
const looks = {
  light: { theme: 'light', device: desk },
  dark: { theme: 'dark', device: desk },
  rtl: { theme: 'light', language: 'ar', device: desk },
  phone: { theme: 'light', device: { viewport: { width: 390, height: 800 }, isMobile: true, hasTouch: true } },
}

/** What is there when a story can be photographed; a picture of `part` only, or else of the window. */
const stories = {
  center: { story: 'center', ready: '.db-panel article' },
  view: { story: 'view', ready: '.db-view article' },
  preferences: { story: 'preferences', ready: '.db-form', whole: true },
  toasts: { story: 'toasts', ready: '.db-toasts li:nth-child(2)' },
}
const states = {
  loading: '.db-skeleton',
  empty: '.db-state',
  failed: '.db-state button',
  offline: '.db-banner',
  refused: '.db-banner',
}

const built = await mkdtemp(join(tmpdir(), 'duebell-stories-'))
const configFile = file('../vue/stories/vite.config.ts')
// The target keeps light-dark() in the style sheet: each picture chooses its scheme on the root element.
await build({ configFile, logLevel: 'error', build: { target: 'esnext', outDir: built, emptyOutDir: true } })
const server = await preview({ configFile, logLevel: 'error', build: { outDir: built }, preview: { host: '127.0.0.1', port: 0 } })
const [address] = server.resolvedUrls.local
const browser = await chromium.launch(launchOptions)

/** A page with a story, at rest. */
async function show(context, { theme, language = 'en' }, query, ready) {
  const page = await context.newPage()
  page.on('pageerror', (error) => {
    throw error
  })
  await page.clock.setFixedTime(now)
  await page.goto(`${address}?${new URLSearchParams({ theme, language, ...query })}`)
  await page.locator(ready).first().waitFor()
  await page.evaluate(() => document.fonts.ready)
  return page
}

/** The panel in each of its states, side by side. */
async function photographStates(context, look) {
  const pictures = []
  for (const [state, ready] of Object.entries(states)) {
    const page = await show(context, look, { story: 'center', state }, ready)
    pictures.push([state, await page.locator('.db-panel').screenshot()])
    await page.close()
  }
  const page = await context.newPage()
  await page.setViewportSize({ width: 900, height: 600 })
  const figures = pictures.map(([name, png]) => `<figure><img src="data:image/png;base64,${png.toString('base64')}"><figcaption>${name}</figcaption></figure>`)
  await page.setContent(`<!doctype html><meta name="viewport" content="width=device-width"><style>
    body { margin: 0; background: ${look.theme === 'dark' ? '#0e1014' : '#f3f4f8'}; color: ${look.theme === 'dark' ? '#a9b1c1' : '#5b6475'} }
    main { display: grid; grid-template-columns: repeat(3, 1fr); gap: 14px; padding: 14px; align-items: start }
    figure { margin: 0; font: 12px system-ui; text-align: center } img { width: 100%; border-radius: 10px } figcaption { padding-top: 4px }
  </style><main>${figures.join('')}</main>`)
  const picture = await page.locator('main').screenshot()
  await page.close()
  return picture
}

await mkdir(target, { recursive: true })
let fits = true
try {
  for (const [lookName, look] of Object.entries(looks)) {
    const context = await browser.newContext({ ...look.device, reducedMotion: 'reduce', locale: look.language ?? 'en-GB', timezoneId: 'Europe/Prague', colorScheme: look.theme })
    const photographs = { states: () => photographStates(context, look) }
    for (const [name, { ready, whole, ...query }] of Object.entries(stories)) {
      photographs[name] = async () => {
        const page = await show(context, look, query, ready)
        return page.screenshot({ fullPage: !!whole })
      }
    }
    for (const [name, photograph] of Object.entries(photographs)) {
      const path = join(target, `${name}-${lookName}.png`)
      await writeFile(path, await photograph())
      const { size } = await stat(path)
      if (size > mostBytes) fits = false
      console.log(`${path} ${Math.ceil(size / 1000)} KB${size > mostBytes ? ': too large' : ''}`)
    }
    await context.close()
  }
} finally {
  await browser.close()
  await server.close()
  await rm(built, { recursive: true })
}
process.exitCode = fits ? 0 : 1
