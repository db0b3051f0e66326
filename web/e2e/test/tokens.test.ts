import { expect, test } from 'vitest'
import { bell, isLive, seen } from '../src/browser.ts'
import { sign, until } from '../src/lender.ts'
import { useLender } from '../src/site.ts'
import { watchWire } from '../src/wire.ts'

const { lender, open, device } = useLender()

test('a connection outlives the token that it began with', async () => {
  const user = await lender().person()
  const browser = await device()
  const wire = watchWire(browser)
  const ttl = 16 // renewed when half of it is over
  const page = await open(user, { ttl: String(ttl) }, browser)
  await isLive(page)
  const end = Date.now() + (ttl + 1) * 1000 // of the first token, which is older than this
  await until('the first token is over', async () => Date.now() > end, (ttl + 5) * 1000)
  const told = await lender().tell(user, 2)
  await until('they are here', async () => (await seen(page)).fresh.length === 2)
  const { fresh, states, tokens } = await seen(page)
  expect(fresh).toEqual(told)
  expect(wire.sockets).toBe(1)
  expect(states.filter((state) => state === 'connecting')).toHaveLength(1)
  expect(tokens.filter((reason) => reason !== 'renew')).toEqual(['connect'])
})

test('a dead token ends in the request to sign in, not in a loop', async () => {
  const user = await lender().person()
  const browser = await device()
  let tries = 0
  browser.on('page', (page) => page.on('websocket', () => (tries += 1)))
  browser.on('request', (request) => (tries += request.url().includes('/v1/') ? 1 : 0))
  const page = await open(user, { dead: '1' }, browser)
  await page.locator('.bar[data-state=refused]').waitFor()
  const asked = (await seen(page)).tokens.length
  const tried = tries
  await page.waitForTimeout(3000)
  expect((await seen(page)).tokens).toHaveLength(asked)
  expect(tries).toBe(tried)
  expect(asked).toBeLessThanOrEqual(3)
  await bell(page).click()
  await page.getByText('Please sign in again.').first().waitFor()
})

test('somebody whose tokens are revoked is off within seconds', async () => {
  const user = await lender().person()
  const page = await open(user, { ttl: '600' })
  await isLive(page)
  await lender().ingest('POST', 'sessions/revoke', { user_id: user })
  // The site signs another token at once, issued five seconds earlier: refused as well.
  await page.locator('.bar[data-state=refused]').waitFor()
})

test('a site that has only dead tokens left is asked a few times, then the reader is', async () => {
  const user = await lender().person()
  const browser = await device()
  let asked = 0
  await browser.route('**/token?**', (route) => route.fulfill({ body: sign({ sub: user }, asked++ ? -60 : 10) }))
  const page = await open(user, {}, browser)
  await isLive(page)
  const wire = watchWire(browser) // of what comes after the connection that is
  await page.locator('.bar[data-state=refused]').waitFor()
  const then = asked
  expect(then).toBeLessThanOrEqual(6) // connect, renew and twice more, after the close, once more
  await page.waitForTimeout(3000)
  expect(asked).toBe(then)
  expect(wire.sockets).toBeLessThanOrEqual(1)
  await bell(page).click()
  await page.locator('.db-banner', { hasText: 'Please sign in again.' }).waitFor()
})
