import { createReadStream, existsSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { extname, join, normalize } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import { useBrowser } from './browser.ts'
import { Lender, sign } from './lender.ts'

const types: Record<string, string> = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css' }

/** The lender's web site: the page under a strict policy, and tokens for whoever asks; without a name they are somebody's. */
export function serveSite(folder: string, somebody = ''): Promise<Server> {
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://site')
    if (pathname === '/token') {
      const ttl = Number(searchParams.get('ttl') ?? 600)
      response.end(sign({ sub: searchParams.get('user') ?? somebody }, searchParams.has('dead') ? -60 : ttl))
      return
    }
    const file = join(folder, pathname === '/' ? 'index.html' : normalize(pathname))
    if (!file.startsWith(folder) || !existsSync(file)) {
      response.writeHead(404).end()
      return
    }
    response.setHeader('Content-Type', types[extname(file)] ?? 'application/octet-stream')
    response.setHeader(
      'Content-Security-Policy',
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' http://127.0.0.1:* ws://127.0.0.1:*",
    )
    createReadStream(file).pipe(response)
  })
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)))
}

export function addressOf(server: Server): string {
  const address = server.address()
  return `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`
}

/** All that a file of tests needs: a lender with its programs, a site, a browser. */
export function useLender(flags: string[] = [], env: Record<string, string> = {}) {
  let site: Server
  let lender: Lender | undefined
  beforeAll(async () => {
    site = await serveSite(process.env.DUEBELL_E2E_PAGE ?? '')
    lender = new Lender(addressOf(site), flags, env)
    await lender.start()
  })
  afterAll(async () => {
    await lender?.end()
    site.close()
  })
  const it = () => {
    if (!lender) throw new Error('only in a test')
    return lender
  }
  return { ...useBrowser(() => `${addressOf(site)}/?push=${encodeURIComponent(it().url)}`), lender: it }
}
