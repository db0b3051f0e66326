// The demo's page: the lender's back office, which is an officer's device, and around it frames with borrowers' devices.
import { createClient } from '@duebell/client'
import { createNotifications } from '@duebell/vue'
import { createApp, ref } from 'vue'
import { createClock } from '../clock.ts'
import { createDemo } from '../demo.ts'
import { officerKinds } from '../kinds.ts'
import { createNetwork, ownStorage } from '../network.ts'
import { createFrameLog } from './frameLog.ts'
import Office from './Office.vue'
import '../base.css'
import './office.css'

const demo = createDemo()
const clock = createClock()
const log = createFrameLog()
const network = createNetwork((told) => log.add('office', told))

async function start(): Promise<void> {
  const { now, cast } = await demo.state()
  const officer = cast.find(({ role }) => role === 'officer')
  if (!officer) throw new Error('the demo has no officer')
  clock.set(now)
  const path = ref('')
  const client = createClient({
    url: '/',
    getToken: () => demo.token(officer.id),
    crossTab: 'off',
    storage: ownStorage('office'),
    transport: 'ws', // the frames are shown
    WebSocket: network.WebSocket,
  })
  // Only what is shown runs on the simulated clock: the client's tokens and time-outs are real.
  const plugin = createNotifications(client, {
    now: clock.now,
    locale: officer.locale,
    timeZone: officer.time_zone,
    kinds: officerKinds,
    routerPush: (to) => (path.value = to),
  })
  log.name('office', 'Office')
  client.on('state', ({ name }) => log.state('office', name))
  createApp(Office, { officer, cast, demo, clock, log, path }).use(plugin).mount('#app')
}

void start()
