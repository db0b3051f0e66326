// @vitest-environment node
import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { createClient } from '../src/index.ts'

describe('on a server', () => {
  it('a client can be made without a browser, and does nothing', () => {
    const client = createClient({ url: '/', getToken: () => 'x' })
    expect(client.state).toEqual({ name: 'idle' })
    expect(client.counts).toBeNull()
    client.destroy()
  })

  it('importing it touches no global', () => {
    const script = `
      for (const name of ['window', 'document', 'navigator', 'localStorage', 'WebSocket', 'BroadcastChannel', 'fetch'])
        Object.defineProperty(globalThis, name, { get() { throw new Error(name + ' was touched') } })
      import(${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)}).then((m) => console.log(Object.keys(m).join(' ')))`
    execFileSync('npx', ['tsc', '-p', 'tsconfig.build.json'], { cwd: new URL('..', import.meta.url) })
    expect(execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' }).trim()).toBe('ApiError createClient isUnread mergeItems')
  }, 60_000)
})
