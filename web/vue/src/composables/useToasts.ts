import { isUnread, mergeItems, type Notification } from '@duebell/client'
import { onScopeDispose, shallowRef, type ShallowRef, watch } from 'vue'
import { useContext } from '../context.ts'
import { type Countdown, createCountdown } from '../countdown.ts'

/** A burst of new notifications. */
export interface Toast {
  id: number
  /** Newest first. */
  items: readonly Notification[]
}

export interface UseToasts {
  toasts: Readonly<ShallowRef<readonly Toast[]>>
  dismiss: (id: number) => void
  /** They stay while the pointer or the focus is on them. */
  hold: () => void
  release: () => void
}

/** What pops up: one toast a burst, none for quiet ones, none in a hidden page or while a list is open, which clears them. */
export function useToasts({ most = 3, duration = 8000 }: { most?: number; duration?: number } = {}): UseToasts {
  const context = useContext()
  const toasts = shallowRef<readonly Toast[]>([])
  const clocks = new Map<number, Countdown>()
  let held = false
  let last = 0

  function dismiss(id: number): void {
    clocks.get(id)?.stop()
    clocks.delete(id)
    toasts.value = toasts.value.filter((toast) => toast.id !== id)
  }

  const dismissAll = () => toasts.value.forEach(({ id }) => dismiss(id))

  const ends = [
    context.onBurst((items) => {
      if (context.open.value) return
      const id = ++last
      toasts.value = [...toasts.value, { id, items: mergeItems([], { items }) }]
      const clock = createCountdown(duration, () => dismiss(id))
      clocks.set(id, clock)
      clock.start()
      if (held) clock.hold()
      for (const { id: oldest } of toasts.value.slice(0, -most)) dismiss(oldest)
    }),
    // What was read, settled or removed elsewhere needs no toast any more.
    context.onChanges(({ items, removed, readThrough }) => {
      const done = new Set([...removed, ...items.filter((item) => !isUnread(item)).map(({ id }) => id)])
      for (const { id, items: shown } of toasts.value)
        if (shown.every((item) => done.has(item.id) || item.created_rev <= (readThrough ?? 0))) dismiss(id)
    }),
    context.onReset(dismissAll),
    watch(context.open, (open) => open && dismissAll()),
    () => clocks.forEach((clock) => clock.stop()),
  ]
  onScopeDispose(() => ends.forEach((end) => end()))

  return {
    toasts,
    dismiss,
    hold() {
      held = true
      clocks.forEach((clock) => clock.hold())
    },
    release() {
      held = false
      clocks.forEach((clock) => clock.release())
    },
  }
}
