/** A time-out that waits while the pointer or the focus is on what it would take away (WCAG 2.2.1). */
export interface Countdown {
  start: () => void
  hold: () => void
  release: () => void
  stop: () => void
}

export function createCountdown(duration: number, end: () => void): Countdown {
  let timer: ReturnType<typeof setTimeout> | undefined
  let running = false
  const hold = () => clearTimeout(timer)
  function release(): void {
    hold()
    if (running) timer = setTimeout(end, duration)
  }
  return {
    hold,
    release,
    start() {
      running = true
      release()
    },
    stop() {
      running = false
      hold()
    },
  }
}

/** For the element that keeps it waiting. */
export const pauses = ({ hold, release }: Pick<Countdown, 'hold' | 'release'>) => ({
  onPointerenter: hold,
  onPointerleave: release,
  onFocusin: hold,
  onFocusout: release,
})
