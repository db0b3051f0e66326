/** Collects what comes in quick succession, so that it is told of once. Times are in ms. */
export interface BurstOptions<T> {
  /** So long after the last one it is over. */
  pause: number
  /** So long after the first one it is told of anyhow. */
  longest: number
  /** So long after one burst was told of the next one waits. */
  gap: number
  tell: (items: T[]) => void
  now?: () => number
}

export function createBurst<T>({ pause, longest, gap, tell, now = Date.now }: BurstOptions<T>) {
  let items: T[] = []
  let first = 0
  let told = -Infinity
  let timer: ReturnType<typeof setTimeout> | undefined

  function flush(): void {
    const all = items
    items = []
    told = now()
    tell(all)
  }

  return {
    add(more: readonly T[]): void {
      if (!more.length) return
      if (!items.length) first = now()
      items.push(...more)
      clearTimeout(timer)
      const at = Math.max(Math.min(now() + pause, first + longest), told + gap)
      timer = setTimeout(flush, Math.max(0, at - now()))
    },
    stop(): void {
      clearTimeout(timer)
      items = []
    },
  }
}
