import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { chromium } from 'playwright-core'
import { launchOptions } from '../../scripts/chromium.mjs'
import { badge, bell } from '../src/browser.ts'
import { Lender, until } from '../src/lender.ts'
import { addressOf, serveSite } from '../src/site.ts'

const web = fileURLToPath(new URL('../..', import.meta.url))

async function run(folder: string, command: string, ...args: string[]): Promise<string> {
  try {
    // Without the tests' own NODE_ENV, which would make another build than the one that is published.
    const { NODE_ENV: _, ...env } = process.env
    return (await promisify(execFile)(command, args, { cwd: folder, env, timeout: 240_000 })).stdout
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string }
    throw new Error(`${command} ${args.join(' ')}: ${stdout} ${stderr}`, { cause: error })
  }
}

/** The code blocks below a heading of a Markdown file. */
function blocks(file: string, heading: string): string[] {
  const [, part = ''] = readFileSync(file, 'utf8').split(`## ${heading}\n`)
  return [...(part.split('\n## ')[0] ?? '').matchAll(/```\w+\n([^]*?)```/g)].map(([, code]) => code ?? '')
}

test('the packages, packed and installed into a new app, put a live bell into it with the five lines of the README', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'duebell-app-'))
  const versions = JSON.parse(readFileSync(join(web, 'package.json'), 'utf8')).devDependencies
  const pick = (...names: string[]) => Object.fromEntries(names.map((name) => [name, versions[name]]))
  const packed: Record<string, string> = {}
  for (const name of ['client', 'vue']) {
    const said = await run(join(web, name), 'npm', 'pack', '--silent', '--pack-destination', folder)
    packed[`@duebell/${name}`] = `file:${said.trim().split('\n').at(-1)}`
  }
  expect(readFileSync(join(web, 'vue/dist/index.js'), 'utf8')).not.toContain(web) // where it was built is nobody's business
  const site = await serveSite(join(folder, 'dist'), 'ada')
  const lender = new Lender(addressOf(site))
  const browser = await chromium.launch(launchOptions)
  try {
    await lender.start()
    writeFileSync(
      join(folder, 'package.json'),
      JSON.stringify({
        private: true,
        type: 'module',
        dependencies: { ...packed, ...pick('vue') },
        devDependencies: pick('vite', '@vitejs/plugin-vue', 'typescript', 'vue-tsc'),
      }),
    )
    await run(folder, 'npm', 'install', '--no-audit', '--no-fund', '--ignore-scripts', '--prefer-offline', '--loglevel=error')
    // What `npm create vite` has, and the two blocks of the README.
    const [main = '', component = ''] = blocks(join(web, 'vue/README.md'), 'The bell in five lines')
    expect(main.trim().split('\n')).toHaveLength(5)
    mkdirSync(join(folder, 'src'))
    writeFileSync(join(folder, 'index.html'), '<!doctype html><title>App</title><div id="app"></div><script type="module" src="/src/main.ts"></script>')
    writeFileSync(join(folder, 'vite.config.js'), "import vue from '@vitejs/plugin-vue'\nexport default { plugins: [vue()] }\n")
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({
        compilerOptions: { target: 'es2022', module: 'esnext', moduleResolution: 'bundler', strict: true, noEmit: true, lib: ['es2022', 'dom'], types: ['vite/client'] },
        include: ['src/**/*.ts', 'src/**/*.vue'],
      }),
    )
    const pushed = main.replace('https://push.example.org', lender.url)
    expect(pushed).not.toBe(main)
    writeFileSync(join(folder, 'src/main.ts'), `import { createApp } from 'vue'\nimport App from './App.vue'\n${pushed}`)
    writeFileSync(join(folder, 'src/App.vue'), component)
    await run(folder, 'npx', 'vue-tsc', '--noEmit')
    await run(folder, 'npx', 'vite', 'build', '--logLevel', 'error')

    await lender.ingest('PUT', 'users/ada', { name: 'Ada Novak', time_zone: 'UTC', locale: 'en' })
    const page = await browser.newPage()
    await page.goto(addressOf(site))
    await page.getByRole('button', { name: 'Notifications' }).waitFor()
    await lender.tell('ada', 2)
    await until('the bell counts', async () => (await badge(page).textContent()) === '2')
    // The app's own tools have minified the style sheet: are there still colours in it?
    await bell(page).click()
    await page.locator('.db-panel article').nth(1).waitFor()
    const [back, text] = await page.locator('.db-panel').evaluate((panel) => {
      const { backgroundColor, color } = getComputedStyle(panel)
      return [backgroundColor, color]
    })
    expect(back).toBe('rgb(255, 255, 255)')
    expect(text).not.toBe(back)
    expect(await page.locator('article[data-unread=true] .db-card').first().evaluate((card) => getComputedStyle(card, '::before').backgroundColor)).not.toBe('rgba(0, 0, 0, 0)')
  } finally {
    await browser.close()
    await lender.end()
    site.close()
    rmSync(folder, { recursive: true })
  }
}, 300_000)
