import type { Notification } from './types.ts'

// The messages of the socket; docs/asyncapi.yaml describes them.

interface CountFields {
  rev: number
  unread: number
  unseen: number
  total: number
}

export interface Hello extends CountFields {
  type: 'hello'
  user: string
  epoch: string
  /** Seconds between signs of life from the server. */
  ping_s: number
}

/** One link of the chain: it starts `from` the rev where the last one ended. */
export interface ChangesMessage extends CountFields {
  type: 'changes'
  from: number
  items?: Notification[]
  removed?: string[]
  read_through?: number
}

/** The chain starts anew at `rev`. */
export interface Reset extends CountFields {
  type: 'reset'
  epoch: string
}

export type ServerMessage =
  | Hello
  | ChangesMessage
  | Reset
  | { type: 'ok'; ref?: string }
  | { type: 'error'; ref?: string; code: string; message: string }
  | { type: 'goaway'; reconnect_ms: number }

export type ClientMessage =
  | { type: 'read'; ids: string[]; ref?: string }
  | { type: 'read_all'; up_to_rev?: number; ref?: string }
  | { type: 'seen'; up_to_rev?: number; ref?: string }
  | { type: 'auth'; token: string; ref?: string }
  | { type: 'ping'; ref?: string }

/** How far a client has come in an inbox's history. An empty epoch is the present one. */
export interface Cursor {
  epoch: string
  rev: number
}

// Close codes that mean something to us.
export const goingAway = 1001
export const restarting = 1012
export const badToken = 4401
export const forbidden = 4403
export const tooMany = 4429
