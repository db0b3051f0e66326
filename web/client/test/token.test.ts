import { describe, expect, it, vi } from 'vitest'
import { fakeToken } from '../src/testing.ts'
import { readToken } from '../src/token.ts'
import type { TokenReason } from '../src/types.ts'
import { pass, setup, useFakeTime } from './setup.ts'

useFakeTime()

describe('the token', () => {
  it('is renewed on the live connection before it ends, by 30 s and some', async () => {
    const { client, server, asked, went } = setup({ random: () => 1 })
    client.connect()
    await pass(3_600_000 - 45_001)
    expect(asked).toEqual(['connect'])
    await pass(1)
    expect(asked).toEqual(['connect', 'renew'])
    await pass()
    expect(server.socket().received.filter((message) => message.type === 'auth')).toHaveLength(1)
    await pass(3_600_000)
    expect(asked).toEqual(['connect', 'renew', 'renew'])
    expect(server.sockets).toHaveLength(1)
    expect(went()).toEqual(['connecting', 'live'])
  })

  it('that lives for seconds is renewed halfway', async () => {
    const { client, server, asked } = setup({ getToken: (reason) => (asked.push(reason), server.token(10)) })
    client.connect()
    await pass(5001)
    expect(asked).toEqual(['connect', 'renew'])
  })

  it('is asked for a few times when the renewed one is refused, once more when the old one has ended, and then no more', async () => {
    const tokens: string[] = []
    const reasons: TokenReason[] = []
    const { client, server } = setup({
      getToken(reason) {
        reasons.push(reason)
        tokens.push(server.token(600))
        return tokens.at(-1)!
      },
    })
    client.connect()
    await pass()
    vi.spyOn(server.badTokens, 'has').mockImplementation((token) => token !== tokens[0])
    await pass(600_000)
    expect(reasons).toEqual(['connect', 'renew', 'refused', 'refused'])
    server.close(4401, 'the token has expired')
    await pass(1000)
    expect(reasons).toEqual(['connect', 'renew', 'refused', 'refused', 'refused'])
    expect(client.state.name).toBe('refused')
    await pass(3_600_000)
    expect(reasons).toHaveLength(5)
  })

  it('that is refused is asked for once more, and then it works again', async () => {
    const first = fakeToken()
    const reasons: TokenReason[] = []
    const { client, server } = setup({ getToken: (reason) => (reasons.push(reason), reason === 'connect' ? first : fakeToken()) })
    server.badTokens.add(first)
    client.connect()
    await pass(250)
    expect(reasons).toEqual(['connect', 'refused'])
    expect(client.state.name).toBe('live')
  })

  it('that stays dead ends it: no loop, no more questions', async () => {
    const dead = fakeToken()
    const getToken = vi.fn(() => dead)
    const { client, server, went } = setup({ getToken })
    server.badTokens.add(dead)
    client.connect()
    await pass(3_600_000)
    expect(getToken).toHaveBeenCalledTimes(2)
    expect(client.state).toEqual({ name: 'refused', reason: 'no token', code: 4401 })
    expect(went()).toEqual(['connecting', 'offline', 'connecting', 'refused'])
    client.retryNow()
    await pass(3_600_000)
    expect(getToken).toHaveBeenCalledTimes(4) // somebody wanted it, so both are asked for again
    expect(client.state.name).toBe('refused')
  })

  it('ends it too where the server accepts each new one and refuses it right after', async () => {
    const { client, server, asked } = setup()
    client.connect()
    await pass()
    server.close(4401, 'the token was revoked')
    await pass(250)
    expect(client.state.name).toBe('live')
    server.close(4401, 'the token was revoked')
    await pass()
    expect(client.state).toEqual({ name: 'refused', reason: 'the token was revoked', code: 4401 })
    expect(asked).toEqual(['connect', 'refused'])
  })

  it('may end again when the connection was stable since', async () => {
    const { client, server, asked } = setup()
    client.connect()
    for (let i = 0; i < 3; i++) {
      await pass(31_000)
      server.close(4401, 'the token has expired')
      await pass(250)
      expect(client.state.name).toBe('live')
    }
    expect(asked).toEqual(['connect', 'refused', 'refused', 'refused'])
  })

  it('that is empty means that nobody is logged in', async () => {
    const { client, server } = setup({ getToken: () => '' })
    client.connect()
    await pass(60_000)
    expect(client.state).toEqual({ name: 'refused', reason: 'no token', code: 4401 })
    expect(server.sockets).toHaveLength(0)
    await expect(client.list()).rejects.toMatchObject({ status: 401 })
  })

  it('that cannot be had now is asked for again with pauses', async () => {
    let fails = 3
    const { client, states } = setup({
      getToken: async () => {
        if (fails-- > 0) throw new Error('the login server is down')
        return fakeToken()
      },
    })
    client.connect()
    await pass(10_000)
    expect(client.state.name).toBe('live')
    expect(states.filter((state) => state.name === 'offline')).toHaveLength(3)
    expect(states[1]).toMatchObject({ reason: 'Error: the login server is down' })
  })

  it('that never comes is asked for anew', async () => {
    let hangs = true
    const { client } = setup({ getToken: () => (hangs ? new Promise<string>(() => {}) : fakeToken()) })
    client.connect()
    await pass(1000)
    hangs = false
    await pass(60_000)
    expect(client.state.name).toBe('live')
  })

  it('is one question for all that need it at the same time', async () => {
    const { client, asked } = setup()
    client.connect()
    await Promise.all([client.list(), client.list(), client.preferences(), pass()])
    expect(asked).toEqual(['connect'])
  })

  it('of a call that is refused is asked for once more', async () => {
    const first = fakeToken()
    const reasons: TokenReason[] = []
    const { client, server } = setup({ getToken: (reason) => (reasons.push(reason), reason === 'connect' ? first : fakeToken()) })
    server.badTokens.add(first)
    await expect(client.list()).resolves.toMatchObject({ items: [] })
    expect(reasons).toEqual(['connect', 'refused'])
    const same = setup({ getToken: () => first })
    same.server.badTokens.add(first)
    await expect(same.client.list()).rejects.toMatchObject({ name: 'ApiError', status: 401, code: 'unauthorized' })
    expect(same.server.requests).toHaveLength(1)
  })

  it('of another person, renewed on a live connection, starts another inbox', async () => {
    const { client, server, resets } = setup({ getToken: () => server.token(600) })
    client.connect()
    await pass()
    server.notify()
    await pass()
    server.user = 'u2'
    await pass(600_000)
    expect(server.sockets).toHaveLength(2)
    expect(server.sockets[0]?.received.map((message) => message.type)).not.toContain('auth')
    expect(server.socket().cursor).toBeNull()
    expect(resets()).toBe(1)
  })

  it('is read with a clock that is wrong', () => {
    const now = Date.now()
    expect(readToken(fakeToken({ ttl: 600 }), now).until).toBe(now + 600_000)
    expect(readToken(fakeToken({ ttl: 600 }), now + 7_200_000).until).toBe(now + 7_200_000 + 600_000) // two hours ahead
    expect(readToken(fakeToken({ ttl: 600 }), now - 7_200_000).until).toBe(now - 7_200_000 + 600_000) // two hours behind
    expect(readToken('opaque', now)).toEqual({ text: 'opaque', user: undefined, until: Infinity })
    expect(readToken(fakeToken({ user: 'a?b>c~~~d' }), now).user).toBe('a?b>c~~~d') // base64url
  })
})
