import type { ConnectionState } from '@duebell/client'
import { computed, type ComputedRef, onScopeDispose, type Ref, ref, watch } from 'vue'
import { useContext } from '../context.ts'

export interface UseConnection {
  state: Readonly<Ref<ConnectionState>>
  /** Something to tell the reader: it isn't live, and not just for a moment. */
  trouble: Readonly<Ref<boolean>>
  /** Seconds to the next try; null if none is planned. */
  retryIn: ComputedRef<number | null>
  retryNow: () => void
}

/** A connection that is back within this wasn't worth a word, in ms. */
const moment = 1000

export function useConnection(): UseConnection {
  const { client, state, seconds } = useContext()
  const trouble = ref(false)
  let timer: ReturnType<typeof setTimeout> | undefined
  let stopCounting: (() => void) | undefined

  function follow(now: ConnectionState): void {
    stopCounting?.()
    stopCounting = now.name === 'offline' ? seconds.use() : undefined
    if (now.name === 'offline' || (now.name === 'connecting' && now.attempt))
      timer ??= setTimeout(() => (trouble.value = true), moment)
    else {
      clearTimeout(timer)
      timer = undefined
      trouble.value = now.name === 'refused'
    }
  }

  watch(state, follow)
  if (typeof window !== 'undefined') follow(state.value)
  onScopeDispose(() => {
    clearTimeout(timer)
    stopCounting?.()
  })

  return {
    state,
    trouble,
    retryNow: () => client.retryNow(),
    retryIn: computed(() => {
      const at = state.value.name === 'offline' ? state.value.retryAt : null
      return at === null ? null : Math.max(0, Math.ceil((at - seconds.time.value) / 1000))
    }),
  }
}
