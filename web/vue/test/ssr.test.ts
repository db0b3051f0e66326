// @vitest-environment node
import { createSSRApp, defineComponent, h } from 'vue'
import { renderToString } from 'vue/server-renderer'
import { expect, it } from 'vitest'
import {
  createNotifications,
  NotificationCenter,
  NotificationPreferences,
  NotificationsView,
  NotificationToasts,
  useBadge,
} from '../src/index.ts'
import { createFakeClient } from './fakeClient.ts'

it('renders on a server, where it neither connects nor asks for anything', async () => {
  expect(typeof window).toBe('undefined')
  const client = createFakeClient([{}])
  const app = createSSRApp(
    defineComponent(() => {
      useBadge()
      return () =>
        h('main', [h(NotificationCenter), h(NotificationsView), h(NotificationPreferences), h(NotificationToasts)])
    }),
  )
  app.use(createNotifications(client))
  const html = await renderToString(app)
  expect(html).toContain('aria-label="Notifications"')
  expect(html).toContain('db-skeleton')
  expect(client.calls).toEqual([])
})
