// @vitest-environment node
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, it, vi } from 'vitest'
import { createFakeServer } from '../src/testing.ts'

// The code of the README is run as it stands there.
const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
const blocks = [...readme.matchAll(/```ts\n(.*?)```/gs)].map((match) => match[1] ?? '')
const files = blocks.map((_, at) => fileURLToPath(new URL(`readme_${at}.tmp.ts`, import.meta.url)))

afterAll(() => files.forEach((file) => rmSync(file, { force: true })))

async function run(at: number): Promise<void> {
  const code = (blocks[at] ?? '').replace('@duebell/client/testing', '../src/testing.ts').replace('@duebell/client', '../src/index.ts')
  writeFileSync(files[at] ?? '', code)
  await import(/* @vite-ignore */ files[at] ?? '')
}

it('the snippet of the README works', async () => {
  const server = createFakeServer()
  server.notify()
  server.notify()
  const said = vi.spyOn(console, 'log').mockImplementation(() => {})
  vi.stubGlobal('WebSocket', server.WebSocket)
  vi.stubGlobal('fetch', (input: string | URL, init?: RequestInit) =>
    String(input) === '/session/notification-token' ? Promise.resolve(new Response(server.token())) : server.fetch(input, init),
  )
  await run(0)
  await vi.waitFor(() => expect(said).toHaveBeenLastCalledWith('0 unread, 2 on the badge'))
  server.notify({ kind: 'repayment.overdue', title: '250.00 EUR overdue' })
  await vi.waitFor(() => expect(said).toHaveBeenCalledWith('new:', '250.00 EUR overdue'))
  server.close()
  vi.unstubAllGlobals()
})

it('the snippet for tests works', () => run(1))
