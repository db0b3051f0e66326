import type { ClientMessage, Cursor, ServerMessage } from '../messages.ts'

/** One connection as the server sees it: a WebSocket or an event stream. */
export class FakeSocket {
  readonly kind: 'ws' | 'sse'
  readonly token: string
  readonly cursor: Cursor | null
  /** What the client said. */
  readonly received: ClientMessage[] = []
  /** What the server said. */
  readonly sent: ServerMessage[] = []
  open = true
  /** Swallows everything, as a network does that is gone without a word. */
  silent = false
  private readonly out: { message: (message: ServerMessage) => void; close: (code: number, reason: string) => void; beat?: () => void }

  constructor(kind: 'ws' | 'sse', token: string, cursor: Cursor | null, out: FakeSocket['out']) {
    this.kind = kind
    this.token = token
    this.cursor = cursor
    this.out = out
  }

  send(message: ServerMessage): void {
    if (!this.open || this.silent) return
    this.sent.push(message)
    this.out.message(structuredClone(message))
  }

  /** A sign of life that a WebSocket's script doesn't see. */
  beat(): void {
    if (this.open && !this.silent) this.out.beat?.()
  }

  /** 1006 is a connection that broke. */
  close(code = 1006, reason = ''): void {
    if (!this.open) return
    this.open = false
    this.out.close(code, reason)
  }
}
