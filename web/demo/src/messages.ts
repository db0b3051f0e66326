import type { Told } from './network.ts'

// What a device's frame and the page around it say to each other.

export type FromDevice =
  | { type: 'frame'; told: Told }
  | { type: 'state'; state: string }
  | { type: 'paid' }

export type ToDevice = { type: 'cut' } | { type: 'mend' }

/** Of this site only, and from that window only. */
export function listen<T>(from: () => Window | null | undefined, heard: (message: T) => void): () => void {
  const end = new AbortController()
  addEventListener(
    'message',
    ({ origin, source, data }) => origin === location.origin && source === from() && heard(data as T),
    { signal: end.signal },
  )
  return () => end.abort()
}

export const tellPage = (message: FromDevice): void => window.parent.postMessage(message, location.origin)
