import { ref, watch } from 'vue'

export const themes = ['auto', 'light', 'dark'] as const
export type Theme = (typeof themes)[number]
const key = 'duebell demo theme'

const stored = (): Theme => themes.find((theme) => theme === localStorage.getItem(key)) ?? 'auto'

/** The page's look, the same in all of its frames: they hear of a change by the storage. */
export function useTheme() {
  const theme = ref(stored())
  watch(
    theme,
    (now) => {
      document.documentElement.dataset.theme = now
      if (now !== stored()) localStorage.setItem(key, now)
    },
    { immediate: true },
  )
  addEventListener('storage', () => (theme.value = stored()))
  return theme
}
