import { ref } from 'vue'

/**
 * The simulated clock: told every second, and going on in between at the pace that it had. That isn't always the same: it
 * stands still while there is work to do.
 */
export function createClock(real: () => number = () => performance.now()) {
  const paces: number[] = []
  let at = 0
  let asked = 0
  const time = ref(0)

  /** Simulated ms in a ms: the median of the last ones, since a jump is no pace. */
  function pace(): number {
    return [...paces].sort((a, b) => a - b)[paces.length >> 1] ?? 0
  }

  function now(): number {
    return at ? at + (real() - asked) * pace() : Date.now()
  }

  function set(instant: string): void {
    const told = Date.parse(instant)
    const when = real()
    if (at && when > asked) {
      paces.push((told - at) / (when - asked))
      if (paces.length > 9) paces.shift()
    }
    at = told
    asked = when
    time.value = told
  }

  return { set, now, pace, time }
}

export type Clock = ReturnType<typeof createClock>

/** Asks again and again, one call at a time. Nothing is asked in a hidden page. What fails is asked for again. */
export function every(ms: number, ask: () => Promise<unknown>): { soon: () => void; stop: () => void } {
  let timer: ReturnType<typeof setTimeout> | undefined
  let running = false
  let again = false
  let stopped = false

  async function run(): Promise<void> {
    clearTimeout(timer)
    if (running) {
      again = true
      return
    }
    running = true
    again = false
    if (!document.hidden) await ask().catch(() => {})
    running = false
    if (!stopped) timer = setTimeout(run, again ? 0 : ms)
  }

  void run()
  return {
    /** Something happened: don't wait for the next turn. */
    soon: () => void run(),
    stop() {
      stopped = true
      clearTimeout(timer)
    },
  }
}
