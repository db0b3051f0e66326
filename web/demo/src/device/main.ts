// A device of somebody: device.html?user=maya&device=1, in a frame of the demo or on its own.
import { createClient } from '@duebell/client'
import { createNotifications } from '@duebell/vue'
import ar from '@duebell/vue/locales/ar'
import cs from '@duebell/vue/locales/cs'
import en from '@duebell/vue/locales/en'
import es from '@duebell/vue/locales/es'
import hi from '@duebell/vue/locales/hi'
import { computed, createApp, ref, watch } from 'vue'
import { createClock, every } from '../clock.ts'
import { createDemo } from '../demo.ts'
import { officerKinds } from '../kinds.ts'
import { listen, tellPage, type ToDevice } from '../messages.ts'
import { createNetwork, ownStorage } from '../network.ts'
import Device from './Device.vue'
import '../base.css'
import './device.css'

const asked = new URLSearchParams(location.search)
const device = asked.get('device') ?? '1'
const network = createNetwork((told) => tellPage({ type: 'frame', told }))
const demo = createDemo(network.fetch)
const clock = createClock()

async function start(): Promise<void> {
  const { now, cast } = await createDemo().state()
  const person = cast.find(({ id }) => id === asked.get('user')) ?? cast[0]
  if (!person) throw new Error('the demo has no people')
  clock.set(now)
  every(1000, async () => clock.set((await createDemo().state()).now))

  /** The person's own choices win over the lender's. */
  const locale = ref(person.locale)
  const timeZone = ref(person.time_zone)
  const messages = computed(() => ({ ar, cs, en, es, hi })[locale.value.split('-')[0] ?? ''] ?? en)
  watch(
    [locale, messages],
    () => {
      document.documentElement.lang = locale.value
      document.documentElement.dir = messages.value === ar ? 'rtl' : 'ltr'
    },
    { immediate: true },
  )

  const path = ref('')
  const client = createClient({
    url: '/',
    getToken: () => demo.token(person.id),
    // Each device is one of its own, though all are frames of one page.
    crossTab: 'off',
    storage: ownStorage(`device ${device}`),
    transport: 'ws', // the frames are shown
    fetch: network.fetch,
    WebSocket: network.WebSocket,
  })
  // Only what is shown runs on the simulated clock: the client's tokens and time-outs are real.
  const plugin = createNotifications(client, {
    now: clock.now,
    locale,
    timeZone,
    messages,
    kinds: person.role === 'officer' ? officerKinds : undefined,
    routerPush: (to) => (path.value = to),
  })
  client.on('state', ({ name }) => tellPage({ type: 'state', state: name }))
  listen<ToDevice>(
    () => window.parent,
    ({ type }) => network[type](),
  )

  createApp(Device, { person, device, demo, clock, locale, timeZone, path, client }).use(plugin).mount('#app')
}

void start()
