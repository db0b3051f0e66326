import type { BrowserContext, WebSocket } from 'playwright-core'

interface Message {
  type: string
  rev: number
  from?: number
}

/**
 * Notes what comes over the sockets of a device's pages, and where it isn't what the server promises: on one connection the first
 * changes start at the rev that the client resumed from, each further ones where the last ended.
 */
export function watchWire(device: BrowserContext) {
  const wire = { sockets: 0, changes: 0, gaps: [] as string[] }
  const watch = (socket: WebSocket) => {
    wire.sockets += 1
    const rev = new URL(socket.url()).searchParams.get('rev')
    let reached = rev === null ? null : Number(rev)
    socket.on('framereceived', ({ payload }) => {
      const message = JSON.parse(String(payload)) as Message
      if (message.type === 'reset') reached = message.rev
      if (message.type === 'hello') reached ??= message.rev
      if (message.type !== 'changes') return
      wire.changes += 1
      if (message.from !== reached) wire.gaps.push(`from ${message.from} after ${reached}`)
      reached = message.rev
    })
  }
  device.on('page', (page) => page.on('websocket', watch))
  for (const page of device.pages()) page.on('websocket', watch)
  return wire
}

/** Stands between a device's pages and the server: what the server says can be kept for a while. */
export async function holdWire(device: BrowserContext) {
  let keeps = false
  let after = 0
  const kept: (() => void)[] = []
  await device.routeWebSocket(/\/v1\/ws/, (page) => {
    const server = page.connectToServer()
    server.onMessage((text) => {
      const isChanges = (JSON.parse(String(text)) as Message).type === 'changes'
      if (keeps && (kept.length || (isChanges && after-- <= 0))) kept.push(() => page.send(text))
      else page.send(text)
    })
  })
  return {
    /** From now on, or after so many more frames of changes. */
    hold(letThrough = 0) {
      keeps = true
      after = letThrough
    },
    held: () => kept.length,
    release() {
      keeps = false
      for (const send of kept.splice(0)) send()
    },
  }
}

/** Lets the lists of a device be read from the database, and keeps the answers on their way until release. */
export async function holdLists(device: BrowserContext) {
  const held = { asked: 0, release: () => {} }
  const released = new Promise<void>((resolve) => (held.release = resolve))
  await device.route('**/v1/notifications?**', async (route) => {
    const response = await route.fetch()
    held.asked += 1
    await released
    await route.fulfill({ response })
  })
  return held
}
