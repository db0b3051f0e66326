import type { Changes, Client, ConnectionState, Counts, Notification } from '@duebell/client'
import { isUnread } from '@duebell/client'
import {
  type Component,
  computed,
  type ComputedRef,
  inject,
  type InjectionKey,
  type MaybeRefOrGetter,
  shallowRef,
  type ShallowRef,
  toValue,
} from 'vue'
import { createBurst } from './burst.ts'
import type { IconName } from './icon.ts'
import { defaultKinds, type KindInfo, type Tone } from './kinds.ts'
import { actionsOf, type NotificationAction } from './links.ts'
import en from './locales/en.ts'
import { createTicker, type Ticker } from './ticker.ts'
import { createTranslate, directionOf, type Messages, type Translate } from './translate.ts'

/** How notifications look and sound in this app. All of it has a default. */
export interface ScreenOptions {
  /** BCP 47; by default the page's or the browser's, where it is of the messages' language. */
  locale?: MaybeRefOrGetter<string | undefined>
  /** A language of `@duebell/vue/locales/…`, with texts of your own in it if you like; English unless set. */
  messages?: MaybeRefOrGetter<Messages>
  /** The reader's zone; the browser's unless set. */
  timeZone?: MaybeRefOrGetter<string | undefined>
  /** How kinds look, and those of the loan system that a person may switch off. */
  kinds?: readonly KindInfo[]
  /** Opens a path of this site; by default `router.push`, else the browser follows the link. */
  routerPush?: (path: string) => unknown
  /** What a notification offers to do; by default the `actions` in its data. */
  actions?: (notification: Notification) => NotificationAction[]
  /** ms since 1970; for pages that run on a clock of their own. */
  now?: () => number
}

/** What the composables and components of an app share. */
export interface Context {
  client: Client
  counts: Readonly<ShallowRef<Counts | null>>
  state: Readonly<ShallowRef<ConnectionState>>
  t: ComputedRef<Translate>
  locale: ComputedRef<string>
  /** For the root of each component. */
  attrs: ComputedRef<{ lang: string; dir: 'ltr' | 'rtl' }>
  timeZone: ComputedRef<string | undefined>
  options: ScreenOptions
  kinds: readonly KindInfo[]
  /** How a kind looks, known or not. */
  kindOf: (kind: string) => { label: string; tone: Tone; icon: IconName | Component; reason?: string }
  actions: (notification: Notification) => NotificationAction[]
  now: () => number
  minutes: Ticker
  seconds: Ticker
  /** New ones worth a word, once a burst, while the page is visible. */
  onBurst: (listener: (items: Notification[]) => void) => () => void
  onChanges: (listener: (changes: Changes) => void) => () => void
  /** What was loaded is void; `gone`: it was another person's and mustn't be shown any more. */
  onReset: (listener: (gone: boolean) => void) => () => void
  forget: () => void
  /** Politely, in the page's one live region. */
  say: (text: string) => void
  /** Opens the notification centre, where there is one. */
  opener: ShallowRef<(() => void) | null>
  /** A list is open: what arrives is seen there. */
  open: ShallowRef<number>
  start: () => void
  stop: () => void
}

export const contextKey: InjectionKey<Context> = Symbol('duebell')

export function useContext(): Context {
  const context = inject(contextKey, null)
  if (!context) throw new Error('app.use(createNotifications(…)) comes first')
  return context
}

function listeners<T>() {
  const all = new Set<(value: T) => void>()
  return {
    add(listener: (value: T) => void): () => void {
      all.add(listener)
      return () => void all.delete(listener)
    },
    tell: (value: T) => all.forEach((listener) => listener(value)),
  }
}

export function createContext(client: Client, options: ScreenOptions): Context {
  const now = options.now ?? Date.now
  const kinds = options.kinds ?? defaultKinds
  const counts = shallowRef(client.counts)
  const state = shallowRef(client.state)
  let region: HTMLElement | undefined
  const bursts = listeners<Notification[]>()
  const changes = listeners<Changes>()
  const resets = listeners<boolean>()
  let ends: (() => void)[] = []

  const messages = computed<Messages>(() => toValue(options.messages) ?? en)
  const locale = computed(() => toValue(options.locale) ?? localeOfPage(messages.value.lang))
  const t = computed(() => createTranslate(messages.value, locale.value))
  const attrs = computed(() => ({ lang: locale.value, dir: directionOf(locale.value) }))
  const timeZone = computed(() => toValue(options.timeZone))

  const burst = createBurst<Notification>({
    pause: 400,
    longest: 3000,
    gap: 3000,
    tell(items) {
      // By now some may be read on another device. In a hidden page the title and the badge say enough.
      if (document.hidden) return
      bursts.tell(items)
      say(
        items.length === 1
          ? t.value('newTitled', { title: items[0]?.title ?? '' })
          : t.value('new', { n: items.length }),
      )
    },
  })

  // The same words twice are silent unless the region was empty in between.
  let timer: ReturnType<typeof setTimeout> | undefined
  function say(text: string): void {
    if (!region) return
    region.textContent = ''
    clearTimeout(timer)
    timer = setTimeout(() => region && (region.textContent = text), 100)
  }

  function forget(): void {
    counts.value = null
    burst.stop()
    resets.tell(true)
  }

  return {
    client,
    counts,
    state,
    t,
    locale,
    attrs,
    timeZone,
    options,
    now,
    say,
    forget,
    kinds,
    kindOf: (kind) => ({
      tone: 'neutral',
      icon: 'bell',
      label: t.value.kind(kind),
      ...kinds.find((info) => info.kind === kind),
    }),
    actions: options.actions ?? actionsOf,
    minutes: createTicker(options.now ? 1000 : 20_000, now), // a clock of its own may jump
    seconds: createTicker(1000, Date.now),
    onBurst: bursts.add,
    onChanges: changes.add,
    onReset: resets.add,
    opener: shallowRef(null),
    open: shallowRef(0),
    start() {
      // Empty from the start: a region that is born with its words is silent.
      region = document.createElement('div')
      region.className = 'db-sr'
      region.role = 'status'
      document.body.append(region)
      counts.value = client.counts
      state.value = client.state
      ends = [
        client.on('counts', (value) => (counts.value = value)),
        client.on('state', (value) => (state.value = value)),
        client.on('changes', (value) => {
          changes.tell(value)
          burst.add(value.fresh.filter((item) => !item.quiet && isUnread(item)))
        }),
        client.on('reset', () => {
          counts.value = client.counts
          resets.tell(!client.counts)
        }),
      ]
    },
    stop() {
      for (const end of ends) end()
      ends = []
      burst.stop()
      clearTimeout(timer)
      region?.remove()
    },
  }
}

/** The page's locale if it is of that language, for its dates and numbers; else the language itself. */
function localeOfPage(language: string): string {
  if (typeof document === 'undefined') return language
  const wanted = [document.documentElement.lang, ...navigator.languages]
  return wanted.find((locale) => locale.split('-')[0] === language) ?? language
}
