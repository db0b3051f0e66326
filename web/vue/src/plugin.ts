import { type Client, type ClientOptions, createClient } from '@duebell/client'
import { type App, type MaybeRefOrGetter, toValue, watch } from 'vue'
import { type Context, contextKey, createContext, type ScreenOptions } from './context.ts'

/** What is needed of vue-router, or of anything like it. */
export interface RouterLike {
  push: (path: string) => unknown
  afterEach: (guard: () => void) => unknown
}

export interface NotificationsOptions extends ScreenOptions {
  /** Opens deep links, and connects again on a route change if there is need. */
  router?: RouterLike
  /** Whether somebody is logged in: connects and disconnects with it. True unless set. */
  authenticated?: MaybeRefOrGetter<boolean>
}

export interface NotificationsPlugin {
  install: (app: App) => void
  client: Client
  context: Context
}

/**
 * Notifications for a Vue app: `app.use(createNotifications({ url, getToken }))`. On a server it does nothing. Given a client
 * of your own it connects and disconnects that.
 */
export function createNotifications(options: ClientOptions & NotificationsOptions): NotificationsPlugin
export function createNotifications(client: Client, options?: NotificationsOptions): NotificationsPlugin
export function createNotifications(
  source: Client | (ClientOptions & NotificationsOptions),
  more: NotificationsOptions = {},
): NotificationsPlugin {
  const isClient = 'list' in source
  const client = isClient ? source : createClient(source)
  const options = isClient ? more : source
  const { router } = options
  const context = createContext(client, {
    ...options,
    routerPush: options.routerPush ?? (router && ((path) => router.push(path))),
  })
  let apps = 0

  /** Connected while somebody is logged in. What failed is tried again at once: the person is here and does something. */
  function follow(): void {
    const { name } = client.state
    if (!apps) return
    if (!(toValue(options.authenticated) ?? true)) {
      if (name === 'idle') return
      client.disconnect()
      context.forget()
    } else if (name === 'idle') client.connect()
    else if (name === 'offline' || name === 'refused') client.retryNow()
  }

  function install(app: App): void {
    app.provide(contextKey, context)
    if (typeof window === 'undefined') return
    if (!apps++) context.start()
    const stop = watch(() => toValue(options.authenticated), follow, { immediate: true, flush: 'sync' })
    const leave = router?.afterEach(follow)
    app.onUnmount(() => {
      stop()
      if (typeof leave === 'function') leave()
      if (--apps) return
      context.stop()
      client.disconnect()
    })
  }

  return { install, client, context }
}
