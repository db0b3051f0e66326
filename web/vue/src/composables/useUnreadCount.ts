import { computed, type ComputedRef } from 'vue'
import { useContext } from '../context.ts'

export interface UseUnreadCount {
  /** Notifications that aren't read. */
  unread: ComputedRef<number>
  /** Those that came since the list was last looked at: the badge. */
  unseen: ComputedRef<number>
  total: ComputedRef<number>
}

/** The server's own counts, live; 0 until they are known. */
export function useUnreadCount(): UseUnreadCount {
  const { counts } = useContext()
  return {
    unread: computed(() => counts.value?.unread ?? 0),
    unseen: computed(() => counts.value?.unseen ?? 0),
    total: computed(() => counts.value?.total ?? 0),
  }
}
