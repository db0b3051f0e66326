import { createClient, type Preferences } from '@duebell/client'
import { createFakeServer } from '@duebell/client/testing'
import { expect, it, vi } from 'vitest'
import { usePreferences, type UsePreferences } from '../src/index.ts'
import { createFakeClient } from './fakeClient.ts'
import { run, settle, showWith } from './setup.ts'

it('stores one change at a time, and a slow answer never undoes a later switch', async () => {
  const client = createFakeClient()
  const answers: { wish: Preferences; answer: () => void }[] = []
  client.savePreferences = (wish) => new Promise((resolve) => answers.push({ wish, answer: () => resolve(wish) }))
  const { result } = run(() => usePreferences(), {}, client)
  await settle()
  void result.save({ digest: 'off' })
  void result.save({ digest: 'daily' })
  void result.save({ digest: 'weekly' })
  expect([result.preferences.value, result.saving.value, answers.length]).toEqual([{ digest: 'weekly' }, 'saving', 1])
  answers[0]?.answer()
  await settle()
  expect(result.preferences.value).toEqual({ digest: 'weekly' })
  expect(answers.map(({ wish }) => wish.digest)).toEqual(['off', 'weekly'])
  answers[1]?.answer()
  await settle()
  expect([result.preferences.value, result.saving.value]).toEqual([{ digest: 'weekly' }, 'saved'])
})

it('loads again when the connection is back, and forgets a person who is gone', async () => {
  const client = createFakeClient()
  client.stored = { digest: 'daily' }
  client.failNext('preferences')
  const { result } = run(() => usePreferences(), {}, client)
  await settle()
  expect([result.preferences.value, !!result.error.value]).toEqual([null, true])
  client.setState({ name: 'offline', reason: 'x', attempt: 1, retryAt: null })
  await settle()
  client.setState({ name: 'live' })
  await settle()
  expect([result.preferences.value, result.error.value]).toEqual([{ digest: 'daily' }, null])
  client.setState({ name: 'idle' })
  client.emit('reset', undefined)
  expect(result.preferences.value).toBe(null)
  client.stored = { digest: 'weekly' }
  client.setState({ name: 'live' })
  await settle()
  expect(result.preferences.value).toEqual({ digest: 'weekly' })
})

it('keeps what the lender has decided while it stores, and learns what that is now when it is refused', async () => {
  const server = createFakeServer()
  const client = createClient({ url: server.url, getToken: () => server.token(), fetch: server.fetch, browser: {} })
  let result: UsePreferences | undefined
  showWith(client, { setup: () => ((result = usePreferences()), () => null) })
  await vi.waitFor(() => expect(result?.preferences.value?.kinds).toHaveLength(5))
  const saving = result?.save({ digest: 'daily' })
  expect(result?.preferences.value).toMatchObject({ digest: 'daily', kinds: server.kinds, lender: server.lender })
  await saving

  server.kinds = [{ kind: 'repayment.overdue', offsets: [1], mandatory: ['push'] }]
  await result?.save({ channels: { 'repayment.overdue': { push: false } } })
  expect([result?.saving.value, result?.problem.value]).toEqual(['refused', 'the lender always sends this'])
  expect(result?.preferences.value).toMatchObject({ digest: 'daily', channels: {}, kinds: server.kinds })
})
