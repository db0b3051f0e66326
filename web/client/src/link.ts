import type { Environment } from './environment.ts'
import type { ClientMessage, Cursor, ServerMessage } from './messages.ts'

/** One connection. After close() it says nothing more; whether the browser ever confirms that doesn't matter. */
export interface Link {
  /** Missing where the transport goes one way only. */
  send?: (message: ClientMessage) => void
  close: () => void
}

export interface LinkListener {
  /** Null: something came that is no message. */
  message: (message: ServerMessage | null) => void
  /** The link is gone; 0 if no close code says why. */
  closed: (code: number, reason: string) => void
}

export type OpenLink = (env: Environment, token: string, cursor: Cursor | null, listener: LinkListener) => Link

export const openSocket: OpenLink = (env, token, cursor, listener) => {
  const url = env.address(`v1/ws${cursor ? `?rev=${cursor.rev}${cursor.epoch && `&epoch=${cursor.epoch}`}` : ''}`)
  url.protocol = url.protocol.replace('http', 'ws')
  // Never in the URL: those end up in logs.
  const socket = new (env.WebSocket as typeof WebSocket)(url, ['duebell.v1', `bearer.${token}`])
  socket.onmessage = ({ data }) => listener.message(JSON.parse(data))
  socket.onclose = ({ code, reason }) => listener.closed(code, reason)
  return {
    send: (message) => socket.send(JSON.stringify(message)),
    close: () => {
      socket.onmessage = socket.onclose = null
      socket.close()
    },
  }
}

/** The same feed as Server-Sent Events, over fetch: an EventSource can't send the token. */
export const openStream: OpenLink = (env, token, cursor, listener) => {
  const end = new AbortController()
  const { signal } = end
  const closed = (code: number, reason: string) => {
    if (signal.aborted) return
    end.abort()
    listener.closed(code, reason)
  }
  void (async () => {
    try {
      const response = await env.fetch(env.address('v1/stream'), {
        headers: {
          Authorization: `Bearer ${token}`,
          Accept: 'text/event-stream',
          ...(cursor && { 'Last-Event-ID': `${cursor.epoch}.${cursor.rev}` }),
        },
        signal,
      })
      // 401 is 4401 and so on. A server that can't answer now is one that restarts.
      const { status, body } = response
      if (status !== 200 || !body) return closed(status < 500 ? status + 4000 : 1012, '')
      const reader = body.getReader()
      const decoder = new TextDecoder()
      let rest = ''
      for (;;) {
        const { done, value } = await reader.read()
        if (signal.aborted) return
        if (done) return closed(0, '')
        listener.message(null)
        const events = (rest + decoder.decode(value, { stream: true })).split('\n\n')
        rest = events.pop() ?? ''
        for (const event of events) {
          const data = /^data: ?(.*)/m.exec(event)?.[1] // one line: JSON has no line breaks of its own
          if (!data || signal.aborted) continue
          const message = JSON.parse(data)
          if (!message.type) return closed(message.code, message.reason) // the event "close"
          listener.message(message)
        }
      }
    } catch (error) {
      closed(0, String(error))
    }
  })()
  return { close: () => end.abort() }
}
