import type { Reached } from './inbox.ts'
import type { ServerMessage } from './messages.ts'
import { createTimers } from './timers.ts'
import type { Browser, Channel, ConnectionState } from './types.ts'

/** What the leader says: where it is, or a frame that it got. Null: another tab asks for that. */
type TabMessage = Status | { state?: never; message: ServerMessage } | null

interface Status {
  state: ConnectionState
  reached: Reached | null
}

export interface TabsHost {
  /** This tab holds the connection from now on. */
  lead: () => void
  /** Another tab has taken it. */
  follow: () => void
  status: () => Status
  /** Where the leader is. */
  heard: (status: Status) => void
  /** A frame that it got. */
  received: (message: ServerMessage) => void
}

export type Locks = Pick<LockManager, 'request'>
export type Tabs = ReturnType<typeof joinTabs>

/**
 * One of all tabs of a name leads: the one that holds the lock. The others listen. A frozen leader keeps its lock and answers
 * nothing, so a tab that is looked at asks now and then, and takes the lock from one that doesn't answer.
 */
export function joinTabs(name: string, locks: Locks, channel: Channel, { document }: Browser, host: TabsHost) {
  const timers = createTimers()
  let leading = false
  let request = 0 // the last for the lock; what came of earlier ones doesn't matter
  let release = () => {}

  const post = (message: TabMessage) => channel.postMessage(message)
  const tell = () => post(host.status())

  function take(steal: boolean): void {
    const mine = ++request
    locks
      .request(name, { steal }, () => {
        if (mine !== request) return
        leading = true
        timers.clear()
        host.lead()
        tell()
        return new Promise<void>((resolve) => (release = resolve))
      })
      .catch(() => {
        if (mine !== request) return
        leading = !leading
        if (leading) return host.lead() // there are no locks to be had: each tab for itself
        host.follow() // it was taken from us
        take(false)
        ask()
      })
  }

  function steal(): void {
    if (!leading) take(true)
  }

  /** Asks whether the leader is there. */
  function ask(): void {
    if (leading || document?.visibilityState === 'hidden') return
    timers.clear()
    post(null)
    // One turn more, for an answer that came while this page stood still.
    timers.set(() => timers.set(steal, 0), 3000)
  }

  channel.onmessage = ({ data }: MessageEvent<TabMessage>) => {
    if (!data || leading) {
      // What else a leader hears is from one that was frozen and doesn't know yet that it isn't one.
      if (!data && leading) tell()
      return
    }
    timers.clear()
    if (data.state) host.heard(data)
    else host.received(data.message)
  }
  take(false)
  ask()

  return {
    leading: () => leading,
    /** Takes the lead. */
    steal,
    ask,
    tell: () => leading && tell(),
    relay: (message: ServerMessage) => leading && post({ message }),
    leave(): void {
      leading = false
      timers.clear()
      request++
      release()
      channel.close()
    },
  }
}
