// What comes over a connection, and whether it is the chain that the server promises.

export interface Frame {
  id: number
  /** `in`: the server said it; `out`: the page; `line`: the connection itself. */
  way: 'in' | 'out' | 'line'
  type: string
  /** Bytes of the JSON text. */
  size: number
  from?: number
  rev?: number
  counts?: { unread: number; unseen: number; total: number }
  /** What it carries, in a few words. */
  carries: string
  /** Whether it starts where the one before it ended; null where that is no question. */
  fits: boolean | null
}

/** One connection after the other of a device: the chain goes on over all of them. */
export interface Chain {
  opened: (url: string) => Frame
  closed: (why: string) => Frame
  heard: (text: string) => Frame
  said: (text: string) => Frame
  /** How many frames were links of the chain so far, and how many of them didn't fit. */
  readonly links: number
  readonly breaks: number
  readonly rev: number | null
}

const bytes = new TextEncoder()

const counted = (n: number, one: string) => `${n} ${one}${n === 1 ? '' : 's'}`

export function createChain(): Chain {
  let last = 0
  let links = 0
  let breaks = 0
  let rev: number | null = null // that the chain has reached
  let resumed = false // this connection said from where it goes on

  function frame(way: Frame['way'], type: string, text: string, more: Partial<Frame> = {}): Frame {
    return { id: ++last, way, type, size: bytes.encode(text).length, carries: '', fits: null, ...more }
  }

  function heard(text: string): Frame {
    const message = JSON.parse(text)
    const { type } = message
    const { unread, unseen, total } = message
    const counts = typeof total === 'number' ? { unread, unseen, total } : undefined
    if (type === 'hello') {
      rev = resumed ? rev : message.rev
      const missed = message.rev - (rev ?? message.rev)
      const carries = missed > 0 ? `${counted(missed, 'change')} to catch up` : 'up to date'
      return frame('in', type, text, { rev: message.rev, counts, carries })
    }
    if (type === 'reset') {
      rev = message.rev
      return frame('in', type, text, { rev: message.rev, counts, carries: 'too much was missed: the first page is asked for' })
    }
    if (type === 'changes') {
      const fits = rev === null || message.from === rev
      links++
      if (!fits) breaks++
      rev = message.rev
      const carries = [
        message.items?.length && counted(message.items.length, 'notification'),
        message.removed?.length && `${message.removed.length} removed`,
        message.read_through !== undefined && `read through ${message.read_through}`,
      ]
      return frame('in', type, text, {
        from: message.from,
        rev: message.rev,
        counts,
        fits,
        carries: carries.filter(Boolean).join(', ') || 'counts only',
      })
    }
    const carries = message.message ?? (message.reconnect_ms === undefined ? '' : `come back in ${message.reconnect_ms} ms`)
    return frame('in', type, text, { carries })
  }

  return {
    opened(url) {
      const from = new URL(url).searchParams.get('rev')
      resumed = from !== null
      if (from === null) return frame('line', 'connect', '', { carries: 'from the present' })
      const fits = rev === null || rev === Number(from)
      if (!fits) breaks++
      rev = Number(from)
      return frame('line', 'connect', '', { carries: `goes on from rev ${from}`, fits })
    },
    closed: (why) => frame('line', 'closed', '', { carries: why }),
    heard,
    said: (text) => frame('out', JSON.parse(text).type, text),
    get links() {
      return links
    },
    get breaks() {
      return breaks
    },
    get rev() {
      return rev
    },
  }
}
