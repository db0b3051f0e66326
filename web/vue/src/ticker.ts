import { shallowRef, type ShallowRef } from 'vue'

/** One timer for everything that shows how long ago or how soon something is. */
export interface Ticker {
  /** ms since 1970. */
  time: Readonly<ShallowRef<number>>
  /** Keeps the time going until what it answers is called. In a hidden page it stands still. */
  use: () => () => void
}

export function createTicker(period: number, now: () => number): Ticker {
  const time = shallowRef(now())
  let users = 0
  let timer: ReturnType<typeof setInterval> | undefined

  function follow(): void {
    clearInterval(timer)
    if (!users || document.hidden) return
    time.value = now()
    timer = setInterval(() => (time.value = now()), period)
  }

  function count(by: number): void {
    if (typeof document === 'undefined') return
    users += by
    if (!users) document.removeEventListener('visibilitychange', follow)
    else if (by === users) document.addEventListener('visibilitychange', follow)
    else return
    follow()
  }

  return {
    time,
    use() {
      count(1)
      return () => count(-1)
    },
  }
}
