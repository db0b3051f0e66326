import { describe, expect, it } from 'vitest'
import { createChain } from '../src/frames.ts'

const counts = { unread: 1, unseen: 1, total: 1 }
const changes = (from: number, rev: number, more: object = {}) =>
  JSON.stringify({ type: 'changes', from, rev, ...counts, items: [{}], ...more })
const hello = (rev: number) => JSON.stringify({ type: 'hello', user: 'maya', epoch: 'k3', rev, ...counts, ping_s: 25 })

describe('the chain of frames', () => {
  it('is unbroken where each frame starts where the last one ended', () => {
    const chain = createChain()
    chain.opened('ws://localhost/v1/ws')
    chain.heard(hello(42))
    expect(chain.heard(changes(42, 43)).fits).toBe(true)
    expect(chain.heard(changes(43, 43)).fits).toBe(true) // cut inside of a rev
    expect(chain.heard(changes(43, 50)).fits).toBe(true)
    expect(chain).toMatchObject({ links: 3, breaks: 0, rev: 50 })
  })

  it('is broken where one is missing, and goes on from there', () => {
    const chain = createChain()
    chain.opened('ws://localhost/v1/ws')
    chain.heard(hello(42))
    expect(chain.heard(changes(43, 44)).fits).toBe(false)
    expect(chain.heard(changes(44, 45)).fits).toBe(true)
    expect(chain).toMatchObject({ links: 2, breaks: 1, rev: 45 })
  })

  it('goes on over a reconnect from the cursor', () => {
    const chain = createChain()
    chain.opened('ws://localhost/v1/ws')
    chain.heard(hello(42))
    chain.heard(changes(42, 43))
    chain.closed('code 1006')
    expect(chain.opened('ws://localhost/v1/ws?rev=43&epoch=k3').fits).toBe(true)
    expect(chain.heard(hello(47)).carries).toBe('4 changes to catch up')
    expect(chain.heard(changes(43, 47)).fits).toBe(true)
    expect(chain.breaks).toBe(0)
  })

  it('is broken where a reconnect skips something', () => {
    const chain = createChain()
    chain.opened('ws://localhost/v1/ws')
    chain.heard(hello(42))
    expect(chain.opened('ws://localhost/v1/ws?rev=45').fits).toBe(false)
    expect(chain.breaks).toBe(1)
  })

  it('starts anew after a reset', () => {
    const chain = createChain()
    chain.opened('ws://localhost/v1/ws?rev=3&epoch=old')
    chain.heard(hello(9000))
    chain.heard(JSON.stringify({ type: 'reset', epoch: 'k3', rev: 9000, ...counts }))
    expect(chain.heard(changes(9000, 9001)).fits).toBe(true)
    expect(chain.breaks).toBe(0)
  })

  it('says what a frame carries', () => {
    const chain = createChain()
    chain.opened('ws://localhost/v1/ws')
    chain.heard(hello(1))
    expect(chain.heard(changes(1, 2)).carries).toBe('1 notification')
    expect(chain.heard(changes(2, 3, { items: undefined, removed: ['a', 'b'] })).carries).toBe('2 removed')
    expect(chain.heard(changes(3, 4, { items: undefined, read_through: 3 })).carries).toBe('read through 3')
    expect(chain.heard(changes(4, 5, { items: undefined })).carries).toBe('counts only')
    expect(chain.heard('{"type":"goaway","reconnect_ms":1830}').carries).toBe('come back in 1830 ms')
    expect(chain.heard('{"type":"error","code":"x","message":"ř"}')).toMatchObject({ carries: 'ř', size: 42 })
  })

  it('never shows a token that is sent', () => {
    const frame = createChain().said('{"type":"auth","token":"secret","ref":"auth"}')
    expect(JSON.stringify(frame)).not.toContain('secret')
    expect(frame).toMatchObject({ way: 'out', type: 'auth' })
  })
})
