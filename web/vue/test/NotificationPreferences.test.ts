import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Preferences } from '@duebell/client'
import { defaultKinds, type KindInfo, NotificationPreferences } from '../src/index.ts'
import { createFakeClient, type FakeClient } from './fakeClient.ts'
import { button, settle, show, texts } from './setup.ts'

const told: Preferences = {
  kinds: [
    { kind: 'repayment.upcoming', offsets: [-7, -3, -1], mandatory: [] },
    { kind: 'repayment.overdue', offsets: [0, 1, 15], mandatory: ['push'] },
    { kind: 'application.status_changed', offsets: [], mandatory: ['push', 'email'] },
  ],
  lender: { quiet_hours: { from: '21:00', to: '08:00' }, time_zone: 'Europe/Prague', locale: 'cs', send_at: '09:00' },
}

/** A client whose server has that stored, and the lender's terms. */
function storing(stored: Preferences = {}) {
  const client = createFakeClient()
  client.stored = { ...told, ...stored }
  return client
}

/** What a client has stored, without what isn't the person's. */
function own(client: FakeClient): Preferences {
  const { kinds: _, lender: __, ...rest } = client.stored
  return rest
}

async function form(client = storing(), options = {}) {
  const screen = show(NotificationPreferences, {}, options, client)
  await settle()
  const toggle = (name: string) => screen.wrapper.get<HTMLInputElement>(`[role=switch][aria-label="${name}"]`)
  return { ...screen, toggle }
}

beforeEach(() => {
  vi.useFakeTimers({ shouldAdvanceTime: true })
  vi.setSystemTime('2026-03-10T21:30:00Z')
})
afterEach(() => void vi.useRealTimers())

describe('the matrix', () => {
  it('has a switch for each kind that the server names and channel, all on unless the person said otherwise', async () => {
    const { wrapper, toggle } = await form(storing({ channels: { 'repayment.upcoming': { email: false } } }))
    expect(texts(wrapper, 'thead th')).toEqual(['Kind', 'In the app', 'E-mail'])
    expect(wrapper.findAll('[role=switch]')).toHaveLength(6)
    expect(toggle('Upcoming payments: In the app').element.checked).toBe(true)
    expect(toggle('Upcoming payments: E-mail').element.checked).toBe(false)
  })

  it('stores each change, and nothing else changes', async () => {
    const client = storing({ channels: { 'card.shipped': { push: false, email: true } }, time_zone: 'Asia/Kolkata' })
    const { wrapper, toggle } = await form(client)
    await toggle('Upcoming payments: E-mail').setValue(false)
    await settle()
    expect(own(client)).toEqual({
      channels: { 'card.shipped': { push: false, email: true }, 'repayment.upcoming': { email: false } },
      time_zone: 'Asia/Kolkata',
    })
    expect(wrapper.get('[role=status]').text()).toBe('Saved')
    await toggle('Upcoming payments: In the app').setValue(false)
    await settle()
    expect(client.stored.channels?.['repayment.upcoming']).toEqual({ push: false, email: false })
  })

  it('takes back what the server refuses', async () => {
    const { client, wrapper, toggle } = await form()
    client.failNext('save')
    await toggle('Upcoming payments: E-mail').setValue(false)
    await settle()
    expect(toggle('Upcoming payments: E-mail').element.checked).toBe(true)
    expect(wrapper.get('[role=alert]').text()).toContain('didn’t work')
  })

  it('stores one change after the other: the last one wins', async () => {
    const { client, toggle } = await form()
    void toggle('Upcoming payments: E-mail').setValue(false)
    void toggle('Upcoming payments: In the app').setValue(false)
    void toggle('Upcoming payments: E-mail').setValue(true)
    await settle()
    await settle()
    expect(client.stored.channels?.['repayment.upcoming']).toEqual({ push: false, email: true })
  })

  it('locks what the server says is mandatory, says why, and can still be reached by the keyboard', async () => {
    const kinds = [{ kind: 'repayment.overdue', reason: 'The law wants it.' }]
    const { client, wrapper, toggle } = await form(storing(), { kinds })
    const locked = toggle('Overdue payments: In the app')
    expect(locked.attributes('aria-disabled')).toBe('true')
    expect(document.getElementById(locked.attributes('aria-describedby') ?? '')?.textContent).toBe('The law wants it.')
    expect(toggle('Overdue payments: E-mail').attributes('aria-disabled')).toBe('false')
    expect(toggle('Upcoming payments: In the app').attributes('aria-describedby')).toBeUndefined()
    for (const channel of ['In the app', 'E-mail']) {
      await toggle(`Applications: ${channel}`).trigger('click')
      await settle()
      expect(toggle(`Applications: ${channel}`).element.checked).toBe(true)
    }
    expect(client.calls.some((call) => call.startsWith('save'))).toBe(false)
    expect(wrapper.text()).toContain('Always sent')
  })

  it('shows when the lender sends', async () => {
    const { wrapper } = await form()
    const [upcoming, overdue, applications] = wrapper.findAll('tbody th').map((cell) => cell.text())
    expect(upcoming).toContain('Days before the due date: 7, 3, 1')
    expect(overdue).toContain('On the due date')
    expect(overdue).toContain('Days after the due date: 1, 15')
    expect(applications).not.toContain('due date')
  })

  it('adds what the loan system sends, as the app says, and nothing that the policy doesn’t', async () => {
    const kinds: KindInfo[] = [...defaultKinds, { kind: 'card.shipped', label: 'Cards' }]
    const { client, wrapper, toggle } = await form(storing(), { kinds })
    expect(wrapper.findAll('[role=switch]')).toHaveLength(8)
    expect(wrapper.text()).not.toContain('Payments due today')
    await toggle('Cards: E-mail').setValue(false)
    await settle()
    expect(client.stored.channels).toEqual({ 'card.shipped': { email: false } })
  })
})

describe('quiet hours', () => {
  const radio = (wrapper: Awaited<ReturnType<typeof form>>['wrapper'], name: string) => {
    const label = wrapper.findAll('.db-radio').find((other) => other.text().startsWith(name))
    if (!label) throw new Error(name)
    return label.get('input')
  }

  it('are the lender’s, the person’s own, or none', async () => {
    const { client, wrapper } = await form()
    expect(texts(wrapper, '.db-radio')[0]).toBe('As your lender has set it (21:00–08:00)')
    await radio(wrapper, 'My own').setValue(true)
    await settle()
    expect(client.stored).toMatchObject({ no_quiet_hours: false, quiet_hours: { from: '21:00', to: '08:00' } })
    await wrapper.get('input[type=time]').setValue('22:15')
    await settle()
    expect(client.stored.quiet_hours).toEqual({ from: '22:15', to: '08:00' })
    await radio(wrapper, 'None').setValue(true)
    await settle()
    expect(client.stored).toMatchObject({ no_quiet_hours: true, quiet_hours: null })
    await radio(wrapper, 'As your').setValue(true)
    await settle()
    expect(client.stored).toMatchObject({ no_quiet_hours: false, quiet_hours: null })
  })

  it('that begin when they end aren’t stored', async () => {
    const { client, wrapper } = await form(storing({ quiet_hours: { from: '22:00', to: '07:00' } }))
    await wrapper.get('input[type=time]').setValue('07:00')
    await settle()
    expect(wrapper.get('.db-wrong').text()).toContain('must differ')
    expect(client.calls.some((call) => call.startsWith('save'))).toBe(false)
  })

  it('show what they come to, in their zone', async () => {
    const { client, wrapper } = await form(storing(), { locale: 'en-GB' })
    const preview = () => wrapper.get('.db-preview').text()
    expect(preview()).toContain('Next reminders: Wed 11 Mar, 9:00 (Europe/Prague)')
    expect(preview()).toContain('e-mail waits until Wed 11 Mar, 8:00.')
    await wrapper.findAll('select')[0]?.setValue('America/New_York')
    await settle()
    expect(client.stored.time_zone).toBe('America/New_York')
    expect(preview()).toContain('Next reminders: Wed 11 Mar, 9:00 (America/New York)')
    expect(preview()).toContain('sent at once')
  })

  it('of a lender who has none, and who sends no reminders', async () => {
    const lender = { quiet_hours: null, time_zone: 'Asia/Kolkata', locale: 'en', send_at: null }
    const { wrapper } = await form(storing({ lender }))
    expect(texts(wrapper, '.db-radio')[0]).toBe('As your lender has set it')
    expect(wrapper.get('.db-preview').text()).toBe('E-mail is sent at once.')
  })
})

it('chooses language and summary, and goes back to all that the lender has', async () => {
  const { client, wrapper } = await form()
  const [zone, language, digest] = wrapper.findAll('select')
  const [zoneOption, languageOption] = [zone, language].map((select) => select?.get('option').text())
  expect([zoneOption, languageOption]).toEqual([
    'As your lender has set it (Europe/Prague)',
    'As your lender has set it (čeština)',
  ])
  await language?.setValue('cs')
  await settle()
  await digest?.setValue('weekly')
  await settle()
  expect(client.stored).toMatchObject({ locale: 'cs', digest: 'weekly' })
  await digest?.setValue('')
  await settle()
  expect(client.stored.digest).toBe(null)
  await button(wrapper, 'Use my lender’s settings').trigger('click')
  await settle()
  expect(own(client)).toEqual({})
  expect(wrapper.findAll('[role=switch]')).toHaveLength(6)
})

it('offers to load again what couldn’t be loaded', async () => {
  const client = storing()
  client.failNext('preferences')
  const { wrapper } = await form(client)
  expect(wrapper.text()).toContain('couldn’t be loaded')
  await button(wrapper, 'Try now').trigger('click')
  await settle()
  expect(wrapper.findAll('[role=switch]')).toHaveLength(6)
})
