import { createApp } from 'vue'
import { createNotifications } from '../src/index.ts'
import ar from '../src/locales/ar.ts'
import cs from '../src/locales/cs.ts'
import en from '../src/locales/en.ts'
import es from '../src/locales/es.ts'
import hi from '../src/locales/hi.ts'
import { createFakeClient } from '../test/fakeClient.ts'
import { inboxes } from './inboxes.ts'
import Stories from './Stories.vue'

// The address chooses: ?story=center&state=offline&language=ar&theme=dark
const asked = new URLSearchParams(location.search)
const languages = { ar, cs, en, es, hi }
const language = (asked.get('language') ?? 'en') as keyof typeof languages
const state = asked.get('state') ?? ''
const messages = languages[language]
document.documentElement.lang = language
document.documentElement.dir = language === 'ar' ? 'rtl' : 'ltr'
if (asked.get('theme')) document.documentElement.style.colorScheme = asked.get('theme') ?? ''

const many = (asked.get('story') ?? '').startsWith('view')
const client = createFakeClient(state === 'empty' ? [] : inboxes(language === 'ar' ? 'ar' : 'en', many ? 137 : 9))
if (state === 'loading') client.hold()
if (state === 'failed') client.failNext('list')
client.stored = {
  kinds: [
    { kind: 'repayment.upcoming', offsets: [-7, -3, -1], mandatory: [] },
    { kind: 'repayment.due_today', offsets: [0], mandatory: [] },
    { kind: 'repayment.overdue', offsets: [1, 7, 15, 30], mandatory: ['push'] },
    { kind: 'repayment.rescheduled', offsets: [], mandatory: ['push', 'email'] },
    { kind: 'application.status_changed', offsets: [], mandatory: [] },
  ],
  lender: {
    quiet_hours: { from: '21:00', to: '08:00' },
    time_zone: 'Europe/Prague',
    locale: language,
    send_at: '09:00',
  },
  quiet_hours: { from: '21:30', to: '07:00' },
  channels: { 'repayment.upcoming': { push: true, email: false } },
}

const app = createApp(Stories, { story: asked.get('story') ?? 'center', client })
app.use(
  createNotifications(client, {
    messages,
    routerPush: (path) => (location.hash = path),
  }),
)
app.mount('#app')
if (state === 'offline') client.setState({ name: 'offline', reason: 'closed', attempt: 3, retryAt: Date.now() + 8500 })
if (state === 'refused') client.setState({ name: 'refused', reason: 'token', code: 4401 })
if (asked.get('story') === 'toasts') {
  setTimeout(
    () =>
      client.arrive({
        kind: 'application.status_changed',
        title: 'Your application was approved',
        body: 'Sign by Friday and the money is yours on Monday.',
        url: '/applications/A1',
      }),
    50,
  )
  setTimeout(
    () =>
      client.arrive(
        { title: 'Payment of €250.00 is due in 3 days' },
        { kind: 'repayment.overdue', title: 'Payment of €90.00 is 1 day overdue' },
        {},
      ),
    3600,
  )
}
