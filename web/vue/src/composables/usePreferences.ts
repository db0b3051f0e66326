import { ApiError, type Preferences } from '@duebell/client'
import { onScopeDispose, type Ref, ref, shallowRef, type ShallowRef, watch } from 'vue'
import { useContext } from '../context.ts'

export interface UsePreferences {
  /** Null until they are known. */
  preferences: Readonly<ShallowRef<Preferences | null>>
  /** Why they couldn't be loaded. */
  error: Readonly<Ref<unknown>>
  /** What became of the last change; `refused`: it was taken back. */
  saving: Readonly<Ref<'' | 'saving' | 'saved' | 'refused'>>
  /** What the server found wrong, in its words. */
  problem: Readonly<Ref<string>>
  load: () => Promise<void>
  /** Shows the change at once and stores it. */
  save: (next: Preferences) => Promise<void>
}

export function usePreferences(options: { immediate?: boolean } = {}): UsePreferences {
  const context = useContext()
  const preferences = shallowRef<Preferences | null>(null)
  const error = shallowRef<unknown>(null)
  const saving = ref<'' | 'saving' | 'saved' | 'refused'>('')
  const problem = ref('')
  let stored: Preferences | null = null
  let waiting: Preferences | null = null
  let running = false
  let wanted = options.immediate ?? true

  async function load(): Promise<void> {
    wanted = true
    error.value = null
    try {
      preferences.value = stored = await context.client.preferences()
    } catch (reason) {
      error.value = reason
    }
  }

  /** One call at a time, the newest wish last: a slow answer never undoes a later switch. */
  async function save(next: Preferences): Promise<void> {
    const { kinds, lender } = preferences.value ?? {} // not the person's to change
    preferences.value = { ...next, kinds, lender }
    waiting = next
    if (running) return
    running = true
    while (waiting) {
      const wish: Preferences = waiting
      waiting = null
      saving.value = 'saving'
      problem.value = ''
      try {
        stored = await context.client.savePreferences(wish)
        saving.value = 'saved'
      } catch (reason) {
        waiting = null
        preferences.value = stored
        saving.value = 'refused'
        if (reason instanceof ApiError && reason.errors) {
          problem.value = reason.errors.map(({ message }) => message).join('; ')
          // The lender may have made something mandatory meanwhile.
          stored = await context.client.preferences().catch(() => stored)
        }
      }
    }
    preferences.value = stored
    running = false
  }

  if (wanted && typeof window !== 'undefined') void load()
  watch(context.state, ({ name }) => {
    if (name === 'live' && wanted && !stored) void load()
  })
  onScopeDispose(
    context.onReset((gone) => {
      if (gone) preferences.value = stored = null
    }),
  )
  return { preferences, error, saving, problem, load, save }
}
