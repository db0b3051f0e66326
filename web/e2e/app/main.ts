// A lender's page. The address says whose and what is on it:
// ?push=http://…&user=ada&ttl=600&dead=1&locale=ar&theme=dark&view=pages|endless|preferences&toasts=0
import { createNotifications } from '@duebell/vue'
import ar from '@duebell/vue/locales/ar'
import en from '@duebell/vue/locales/en'
import { createApp } from 'vue'
import App from './App.vue'

const asked = new URLSearchParams(location.search)
const locale = asked.get('locale') ?? 'en'
const root = document.documentElement
root.lang = locale
root.dir = locale === 'ar' ? 'rtl' : 'ltr'
root.dataset.theme = asked.get('theme') ?? ''

/** What the tests look at. */
const seen = { tokens: [] as string[], states: [] as string[], fresh: [] as string[], said: [] as string[], path: '' }
Object.assign(window, { seen })

const plugin = createNotifications({
  url: asked.get('push') ?? '',
  async getToken(reason) {
    seen.tokens.push(reason)
    const answer = await fetch(`/token${location.search}`)
    return answer.text()
  },
  messages: locale === 'ar' ? ar : en,
  routerPush: (path) => (seen.path = path),
})
plugin.client.on('state', ({ name }) => seen.states.push(name))
plugin.client.subscribe('*', ({ title }) => seen.fresh.push(title))
createApp(App, { view: asked.get('view') ?? '', toasts: asked.get('toasts') !== '0' })
  .use(plugin)
  .mount('#app')

// Each text that the live region gets.
new MutationObserver((mutations) => {
  const touched = mutations.flatMap(({ target }) => (target instanceof Element ? target : target.parentElement) ?? [])
  for (const region of new Set(touched.flatMap((element) => element.closest('body > [role=status]') ?? []))) {
    if (region.textContent) seen.said.push(region.textContent)
  }
}).observe(document.body, { childList: true, subtree: true, characterData: true })
