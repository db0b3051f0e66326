import type { Environment } from './environment.ts'
import { createTimers } from './timers.ts'

export interface WakeListener {
  /** The network is back, the page is looked at, or the machine slept: the connection may be dead without a word. Or only ten seconds have passed (tick). */
  wake: (tick: boolean) => void
  /** The page is about to be frozen: what it holds must go. */
  sleep: () => void
}

const tick = 10_000

/** Watches the page until the answered function is called. */
export function watchPage(env: Environment, { wake, sleep }: WakeListener): () => void {
  const end = new AbortController()
  const timers = createTimers()
  const { browser } = env
  const hear = ({ type }: Event) => {
    if (type === 'pagehide' || type === 'freeze') sleep()
    else if (type !== 'visibilitychange' || browser.document?.visibilityState !== 'hidden') wake(false)
  }
  // Some of them are the document's and don't bubble, but all pass the window on their way down.
  for (const type of ['online', 'offline', 'pageshow', 'pagehide', 'visibilitychange', 'freeze', 'resume']) {
    browser.addEventListener?.(type, hear, { capture: true, signal: end.signal })
  }

  // Timers stand still while a machine sleeps. A hidden page's timers are late too: then a question does no harm.
  const watch = () => {
    const expected = env.now() + tick
    timers.set(() => {
      wake(env.now() < expected + 5000)
      watch()
    }, tick)
  }
  watch()
  return () => {
    end.abort()
    timers.clear()
  }
}
