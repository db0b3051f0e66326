import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import { build } from 'vite'
import { launchOptions } from '../../scripts/chromium.mjs'
import { programPath } from './lender.ts'

/** Says what is missing before anything runs, builds the page and starts the browser, once for all files of tests. */
export default async function setup(): Promise<() => Promise<void>> {
  if (!existsSync(programPath)) throw new Error(`${programPath} isn't there: run \`make build\`, or say where with DUEBELL_BIN`)
  if (!existsSync(launchOptions.executablePath)) throw new Error(`${launchOptions.executablePath} isn't there: install Debian's chromium, or say where with CHROMIUM`)
  const folder = mkdtempSync(join(tmpdir(), 'duebell-page-'))
  process.env.DUEBELL_E2E_PAGE = folder
  await build({ configFile: fileURLToPath(new URL('../app/vite.config.ts', import.meta.url)), build: { outDir: folder } })
  const browser = await chromium.launchServer(launchOptions)
  process.env.DUEBELL_E2E_BROWSER = browser.wsEndpoint()
  return async () => {
    await browser.close()
    rmSync(folder, { recursive: true })
  }
}
