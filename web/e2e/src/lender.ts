import { type ChildProcess, spawn } from 'node:child_process'
import { createHmac, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const programPath = process.env.DUEBELL_BIN ?? fileURLToPath(new URL('../../../bin/duebell', import.meta.url))
const secret = 'only-for-this-test-only-for-this-test'

/** A signed token that ends in so many seconds, which may be before now. */
export function sign(claims: object, ttl = 600): string {
  const iat = Math.floor(Date.now() / 1000) - 5
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ ...claims, iat, exp: iat + 5 + ttl })}`
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
}

const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })

/** Asks again until it is so, or says why not. */
export async function until<T>(what: string, ask: () => Promise<T | false | null | undefined | ''>, timeout = 30_000): Promise<T> {
  const end = Date.now() + timeout
  let last: unknown
  for (;;) {
    try {
      const answer = await ask()
      if (answer) return answer
    } catch (error) {
      last = error
    }
    if (Date.now() > end) throw new Error(`not within ${timeout / 1000} s: ${what}`, { cause: last })
    await new Promise((resolve) => setTimeout(resolve, 30))
  }
}

/** A lender: `duebell up` on a database of its own, and the loan system beside it. */
export class Lender {
  readonly folder = mkdtempSync(join(tmpdir(), 'duebell-lender-'))
  #ports: number[] = []
  #process: ChildProcess | null = null
  #serial = 0

  readonly #origin: string
  readonly #flags: string[]
  readonly #env: Record<string, string>

  /** Origin is that of the site, flags and env go to the program. */
  constructor(origin: string, flags: string[] = [], env: Record<string, string> = {}) {
    this.#origin = origin
    this.#flags = flags
    this.#env = env
  }

  get url(): string {
    return `http://127.0.0.1:${this.#ports[0]}`
  }

  async start(): Promise<void> {
    if (!this.#ports.length) this.#ports = await Promise.all([freePort(), freePort(), freePort(), freePort()])
    const [pusher, scheduler, worker, ops] = this.#ports.map((port) => `127.0.0.1:${port}`)
    this.#process = spawn(programPath, ['up', ...this.#flags], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: {
        DATABASE_URL: `sqlite:${join(this.folder, 'duebell.db')}`,
        REDIS_URL: 'embedded',
        AUTH_JWT_SECRET: secret,
        ALLOWED_ORIGINS: this.#origin,
        PUSHER_ADDR: pusher,
        SCHEDULER_ADDR: scheduler,
        WORKER_ADDR: worker,
        PUSHER_OPS_ADDR: ops,
        DRAIN_WINDOW: '1s',
        LOG_LEVEL: 'error',
        ...this.#env,
      },
    })
    await until('the programs are ready', async () => (await fetch(`http://${ops}/readyz`)).ok)
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#process
    this.#process = null
    if (!child) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill(signal)
    await ended
  }

  async end(): Promise<void> {
    await this.stop('SIGKILL')
    rmSync(this.folder, { recursive: true })
  }

  /** What the loan system says. Several rows for an import are a line each. */
  async ingest(method: string, path: string, body: object): Promise<void> {
    const isImport = path.startsWith('import/') && Array.isArray(body)
    const token = sign({ sub: 'loan-system', aud: 'duebell-internal', scope: 'duebell:ingest duebell:admin' })
    const response = await fetch(`http://127.0.0.1:${this.#ports[1]}/v1/${path}`, {
      method,
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': isImport ? 'application/x-ndjson' : 'application/json' },
      body: isImport ? body.map((row) => JSON.stringify(row)).join('\n') : JSON.stringify(body),
    })
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
  }

  /** Somebody new; awake at all hours, or what arrives at night would be quiet. */
  async person(locale = 'en'): Promise<string> {
    const id = `p${++this.#serial}-${randomUUID().slice(0, 8)}`
    await this.ingest('PUT', `users/${id}`, { name: 'Ada Novak', time_zone: 'UTC', locale })
    await this.inbox(id, 'PUT', 'preferences', { no_quiet_hours: true })
    return id
  }

  /** Tells somebody something, so often, in order. */
  async tell(user: string, count = 1, what: object = {}): Promise<string[]> {
    const all: string[] = []
    for (let i = 0; i < count; i++) {
      const title = `No. ${++this.#serial}`
      all.push(title)
      await this.ingest('POST', 'notifications', {
        id: randomUUID(),
        user_id: user,
        kind: 'message',
        title,
        body: 'A word from your lender.',
        ...what,
      })
    }
    return all
  }

  /** The inbox API, as that person. */
  async inbox(user: string, method: string, path: string, body?: object): Promise<Record<string, unknown>> {
    const response = await fetch(`${this.url}/v1/${path}`, {
      method,
      headers: { Authorization: `Bearer ${sign({ sub: user })}`, 'Content-Type': 'application/json' },
      body: body && JSON.stringify(body),
    })
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
    return (await response.json()) as Record<string, unknown>
  }

  /** Waits until so many are in somebody's inbox. */
  async has(user: string, total: number, timeout?: number): Promise<void> {
    await until(`${user} has ${total}`, async () => (await this.inbox(user, 'GET', 'notifications?limit=1')).total === total, timeout)
  }
}
