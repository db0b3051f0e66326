/** Timers that end together. */
export function createTimers() {
  const running = new Set<ReturnType<typeof setTimeout>>()
  return {
    set(run: () => void, ms: number): void {
      const timer = setTimeout(
        () => {
          running.delete(timer)
          run()
        },
        Math.min(ms, 2e9), // from 2 ** 31 on they fire at once
      )
      running.add(timer)
    },
    clear(): void {
      running.forEach(clearTimeout)
      running.clear()
    },
  }
}
