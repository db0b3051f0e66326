import { type ChildProcess, spawn } from 'node:child_process'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { useBrowser } from '../src/browser.ts'
import { programPath } from '../src/lender.ts'

let demo: ChildProcess
let address = ''
const { device } = useBrowser(() => address)

beforeAll(async () => {
  demo = spawn(programPath, ['demo', '--port', '0'], { stdio: ['ignore', 'pipe', 'inherit'] })
  address = await new Promise<string>((resolve, reject) => {
    let said = ''
    demo.stdout?.on('data', (part) => {
      const found = /http:\/\/localhost:\d+\//.exec((said += part))
      if (found) resolve(found[0])
    })
    demo.once('exit', (code) => reject(new Error(`the demo ended with ${code}: ${said}`)))
  })
})
afterAll(async () => {
  const ended = new Promise((resolve) => demo.once('exit', resolve))
  demo.kill('SIGTERM')
  await ended
})

test('a change in the back office shows on both of a borrower’s devices, also on one that was cut off', async () => {
  const page = await (await device({ viewport: { width: 1440, height: 900 } })).newPage()
  const faults: string[] = []
  page.on('pageerror', (error) => faults.push(error.message))
  page.on('console', (message) => faults.push(...(message.type() === 'error' ? [message.text()] : [])))
  page.on('request', (request) => faults.push(...(request.url().startsWith(address) ? [] : [request.url()])))
  await page.goto(address)
  const [first, second] = [page.frameLocator('iframe').first(), page.frameLocator('iframe').nth(1)]
  await first.locator('.db-bell').waitFor()
  await page.getByRole('button', { name: 'Second device' }).click()
  await second.locator('.db-bell').waitFor()
  await page.getByText('Live', { exact: true }).nth(1).waitFor()
  await page.getByRole('button', { name: 'Cut connection' }).last().click()
  await page.getByText('Cut off').waitFor()

  await page.getByRole('button', { name: 'Change status' }).first().click()
  const news = 'Application A-MAYA-1: submitted'
  await first.locator('.db-bell').click()
  await first.locator('.db-panel article', { hasText: news }).waitFor()
  await page.getByRole('button', { name: 'Reconnect' }).click()
  await second.locator('.db-bell').click()
  await second.locator('.db-panel article', { hasText: news }).waitFor()
  expect(await second.locator('.db-panel article', { hasText: news }).count()).toBe(1)
  expect(await page.getByText('unbroken').count()).toBe(3) // the office's and the devices' chains

  await first.locator('.db-bell').press('Escape')
  await first.getByRole('link', { name: 'Mail' }).or(first.getByRole('button', { name: 'Mail' })).or(first.getByRole('tab', { name: 'Mail' })).first().click()
  await first.getByText(news).first().waitFor()
  expect(faults).toEqual([])
}, 120_000)
