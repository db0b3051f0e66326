import type { Browser, ClientOptions } from './types.ts'

/** The world outside, read when a client is made and never at import: on a server most of it doesn't exist. */
export type Environment = ReturnType<typeof createEnvironment>

export function createEnvironment({ url, now = Date.now, random = Math.random, storage, browser = globalThis as Browser, ...own }: ClientOptions) {
  return {
    browser,
    fetch: own.fetch ?? fetch.bind(globalThis),
    WebSocket: own.WebSocket ?? browser.WebSocket,
    now,
    random,
    /** Browsers that block it throw at the mere look. */
    storage: () => (storage === undefined ? browser.localStorage : storage),
    /** An absolute address of the pusher. */
    address: (path: string) => new URL(url.replace(/\/?$/, '/') + path, browser.location?.href),
  }
}
