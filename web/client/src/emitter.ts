/** Listeners by event. One that throws neither stops the others nor the caller; the page's error handler hears of it. */
export function createEmitter<Events>() {
  const listeners = new Map<keyof Events, Set<(value: never) => void>>()
  return {
    on<E extends keyof Events>(event: E, listener: (value: Events[E]) => void): () => void {
      const set = listeners.get(event) ?? new Set()
      listeners.set(event, set.add(listener))
      return () => void set.delete(listener)
    },
    emit<E extends keyof Events>(event: E, value: Events[E]): void {
      for (const listener of new Set(listeners.get(event)) as Set<(value: Events[E]) => void>) {
        try {
          listener(value)
        } catch (error) {
          setTimeout(() => {
            throw error
          })
        }
      }
    },
    clear: () => listeners.clear(),
  }
}

export type Emitter<Events> = ReturnType<typeof createEmitter<Events>>
