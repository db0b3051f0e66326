import type { Environment } from './environment.ts'
import type { Cursor } from './messages.ts'

/** Keeps a person's cursor across reloads, and answers what is kept. A storage that is full or blocked only costs that. */
export function keepCursor({ storage }: Environment, key: string, cursor?: Cursor | null): Cursor | undefined {
  try {
    if (cursor) storage()?.setItem(key, JSON.stringify(cursor))
    else return JSON.parse(storage()?.getItem(key) ?? '')
  } catch {
    // The next reload starts at the present.
  }
}
