import type { Browser, Channel } from '../types.ts'

interface Held {
  page: FakePage
  mode: 'held' | 'waiting'
  grant: () => void
  take: () => void
}

export type FakeBrowser = ReturnType<typeof createFakeBrowser>

/** Pages of one origin, with the locks, channels and storage that they share. Hand `page.browser` to createClient. */
export function createFakeBrowser() {
  const locks = new Map<string, Held[]>()
  const channels = new Set<FakeChannel>()
  const storage = new Map<string, string>()

  function next(name: string): void {
    const queue = locks.get(name) ?? []
    const first = queue[0]
    if (first?.mode === 'waiting') {
      first.mode = 'held'
      queueMicrotask(first.grant)
    }
  }

  const lockManager = (page: FakePage) => ({
    request(name: string, options: LockOptions, run: () => unknown): Promise<unknown> {
      const queue = locks.get(name) ?? []
      locks.set(name, queue)
      return new Promise((resolve, reject) => {
        const leave = () => {
          const at = queue.indexOf(mine)
          if (at >= 0) queue.splice(at, 1)
          next(name)
        }
        const mine: Held = {
          page,
          mode: 'waiting',
          grant: () => {
            if (!queue.includes(mine)) return
            void Promise.resolve(run()).then((value) => {
              leave()
              resolve(value)
            })
          },
          take: () => {
            queue.splice(queue.indexOf(mine), 1)
            page.task(() => reject(new DOMException('the lock was stolen', 'AbortError')))
          },
        }
        if (options.steal) {
          for (const held of queue.filter((one) => one.mode === 'held')) held.take()
          queue.unshift(mine)
        } else queue.push(mine)
        next(name)
      })
    },
  })

  class FakeChannel implements Channel {
    onmessage: ((event: MessageEvent) => unknown) | null = null
    readonly name: string
    readonly page: FakePage

    constructor(name: string, page: FakePage) {
      this.name = name
      this.page = page
      channels.add(this)
    }

    postMessage(message: unknown): void {
      const data = structuredClone(message)
      for (const other of channels) {
        if (other === this || other.name !== this.name) continue
        other.page.task(() => channels.has(other) && other.onmessage?.({ data } as MessageEvent))
      }
    }

    close(): void {
      channels.delete(this)
    }
  }

  return {
    storage,
    channels: () => channels.size,
    open(): FakePage {
      const page = new FakePage(() => {
        for (const [name, queue] of locks) {
          locks.set(
            name,
            queue.filter((one) => one.page !== page),
          )
          next(name)
        }
        for (const channel of channels) if (channel.page === page) channels.delete(channel)
      })
      Object.assign(page.browser, {
        navigator: { locks: lockManager(page) as unknown as LockManager },
        BroadcastChannel: class extends FakeChannel {
          constructor(name: string) {
            super(name, page)
          }
        },
        localStorage: {
          getItem: (key: string) => storage.get(key) ?? null,
          setItem: (key: string, value: string) => void storage.set(key, value),
          removeItem: (key: string) => void storage.delete(key),
        } as unknown as Storage,
      })
      return page
    },
  }
}

/** A page: shown or hidden, running or standing still. */
export class FakePage {
  readonly browser: Browser
  private readonly document: { visibilityState: DocumentVisibilityState } = { visibilityState: 'visible' }
  private readonly window = new EventTarget()
  private waiting: (() => void)[] | null = null
  private readonly gone: () => void

  constructor(gone: () => void) {
    this.gone = gone
    this.browser = {
      document: this.document,
      addEventListener: this.window.addEventListener.bind(this.window),
    }
  }

  /** Runs in the page's event loop. */
  task(run: () => void): void {
    if (this.waiting) this.waiting.push(run)
    else queueMicrotask(run)
  }

  /** An event of the window or the document. */
  fire(type: string): void {
    this.window.dispatchEvent(new Event(type))
  }

  hide(): void {
    this.document.visibilityState = 'hidden'
    this.fire('visibilitychange')
  }

  show(): void {
    this.document.visibilityState = 'visible'
    this.fire('visibilitychange')
  }

  /** Nothing reaches the page, and it isn't told: a script that hangs, a debugger. */
  stall(): void {
    this.waiting ??= []
  }

  go(): void {
    const waiting = this.waiting ?? []
    this.waiting = null
    waiting.forEach((run) => queueMicrotask(run))
  }

  freeze(): void {
    this.fire('freeze')
    this.stall()
  }

  resume(): void {
    this.go()
    this.fire('resume')
  }

  /** Its locks and channels go with it. */
  close(): void {
    this.fire('pagehide')
    this.gone()
  }
}
