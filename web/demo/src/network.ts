import { createChain, type Frame } from './frames.ts'

/** What a device tells of its connection. */
export interface Told {
  frame: Frame
  links: number
  breaks: number
  rev: number | null
}

/**
 * A device's way to the server, which can be cut. That is not `disconnect()`: as when a cable is pulled, open sockets go away
 * with code 1006, new ones don't open and calls fail, and the client finds out by itself.
 */
export function createNetwork(tell: (told: Told) => void) {
  const chain = createChain()
  const open = new Set<WebSocket>()
  let isCut = false

  const note = (frame: Frame) => tell({ frame, links: chain.links, breaks: chain.breaks, rev: chain.rev })

  function end(socket: WebSocket): void {
    const { onclose } = socket
    socket.onmessage = socket.onclose = null
    open.delete(socket)
    socket.close()
    note(chain.closed('the connection was cut'))
    onclose?.call(socket, new CloseEvent('close', { code: 1006 }))
  }

  function observe(socket: WebSocket): WebSocket {
    open.add(socket)
    note(chain.opened(socket.url))
    socket.addEventListener('message', ({ data }) => open.has(socket) && note(chain.heard(data)))
    socket.addEventListener('close', ({ code }) => open.delete(socket) && note(chain.closed(`code ${code}`)))
    const send = socket.send.bind(socket)
    socket.send = (data) => {
      if (typeof data === 'string') note(chain.said(data))
      send(data)
    }
    return socket
  }

  /** A socket that never gets through. */
  function nowhere(): WebSocket {
    const socket = { onclose: null, send() {}, close() {} } as unknown as WebSocket
    setTimeout(() => socket.onclose?.(new CloseEvent('close', { code: 1006 })), 30)
    return socket
  }

  return {
    WebSocket: new Proxy(WebSocket, {
      construct: (Real, [url, protocols]) => (isCut ? nowhere() : observe(new Real(url, protocols))),
    }),
    fetch: (...call: Parameters<typeof fetch>): Promise<Response> =>
      isCut ? Promise.reject(new TypeError('the connection is cut')) : fetch(...call),
    cut() {
      isCut = true
      for (const socket of open) end(socket)
      dispatchEvent(new Event('offline')) // as the browser says it
    },
    mend() {
      isCut = false
      dispatchEvent(new Event('online'))
    },
  }
}

/** Keeps a device's cursor apart from that of the others: until the tab is closed, under names of its own. */
export function ownStorage(device: string): Pick<Storage, 'getItem' | 'setItem' | 'removeItem'> {
  const own = (key: string) => `${device} ${key}`
  return {
    getItem: (key) => sessionStorage.getItem(own(key)),
    setItem: (key, value) => sessionStorage.setItem(own(key), value),
    removeItem: (key) => sessionStorage.removeItem(own(key)),
  }
}
