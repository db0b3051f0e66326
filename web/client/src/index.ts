/**
 * Live notifications of a Duebell pusher.
 *
 * The way of a frame, and the files in that order: a link (`link.ts`: WebSocket or event stream) is kept open by the connection
 * (`connection.ts`, with `token.ts`, `backoff.ts`, `wake.ts`), in one of all tabs (`tabs.ts`). Its frames go to the inbox
 * (`inbox.ts`), which checks the chain and keeps cursor and counts. What the person does lies over that until the server has done
 * it (`overlay.ts`, `actions.ts`, `api.ts`). `client.ts` puts the parts together.
 */
export { ApiError, type FieldError } from './api.ts'
export { createClient } from './client.ts'
export { isUnread, mergeItems, type MergeFilter } from './merge.ts'
export type {
  Browser,
  Changes,
  Channel,
  Client,
  ClientEvents,
  ClientOptions,
  ConnectionState,
  Counts,
  Kind,
  LenderDefaults,
  LenderKind,
  ListQuery,
  Notification,
  Page,
  Preferences,
  TokenReason,
} from './types.ts'
