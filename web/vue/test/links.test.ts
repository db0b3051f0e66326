import { expect, it } from 'vitest'
import { actionsOf, safeLink } from '../src/links.ts'
import { notification } from './notification.ts'

it('opens https and paths of this site', () => {
  expect(safeLink('/loans/7?tab=2#x')).toEqual({ href: '/loans/7?tab=2#x', path: '/loans/7?tab=2#x' })
  expect(safeLink('https://example.org/a')).toEqual({ href: 'https://example.org/a', target: '_blank' })
  expect(safeLink('HTTPS://example.org')).toMatchObject({ target: '_blank' })
})

it.each([
  ['nothing', null],
  ['an empty one', ''],
  ['a script', 'javascript:alert(1)'],
  ['a script behind a space', ' javascript:alert(1)'],
  ['a script with a line break', 'java\nscript:alert(1)'],
  ['data', 'data:text/html,x'],
  ['http', 'http://example.org'],
  ['another host without a scheme', '//evil.example'],
  ['another host by backslash', '/\\evil.example'],
  ['a backslash', '/a\\b'],
  ['a tab', '/\t/evil.example'],
  ['a name before the host', 'https://bank.example@evil.example/'],
  ['https without a host', 'https:///x'],
  ['a relative path', 'loans/7'],
])('refuses %s', (_, url) => {
  expect(safeLink(url)).toBe(null)
})

it('takes actions from the data of a notification, and nothing that isn’t one', () => {
  const data = {
    actions: [{ label: 'Pay', url: '/pay', primary: true }, { label: 'No address' }, null, 'x', { label: 1, url: '/' }],
  }
  expect(actionsOf(notification({ data }))).toEqual([{ label: 'Pay', url: '/pay', primary: true }])
  expect(actionsOf(notification({ data: { actions: 'x' } }))).toEqual([])
  expect(actionsOf(notification())).toEqual([])
})
