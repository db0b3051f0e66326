import type { ClientOptions, TokenReason } from './types.ts'

export interface Token {
  text: string
  /** Whom it names; undefined if it doesn't say so in `sub`. */
  user: string | undefined
  /** When it ends by this machine's clock, in ms; Infinity if it doesn't say. */
  until: number
}

export type Tokens = ReturnType<typeof createTokens>

/** Keeps the token while it lives, and asks for another one. */
export function createTokens(getToken: ClientOptions['getToken'], now: () => number) {
  let current: Token | null = null
  let asking: Promise<Token>
  let askedAt = -Infinity // of what isn't answered yet
  let refused = false

  function ask(reason: TokenReason): Promise<Token> {
    if (now() - askedAt < 10_000) return asking // beyond that it hangs
    askedAt = now()
    return (asking = (async () => {
      try {
        const text = await getToken(refused ? 'refused' : reason)
        refused = false
        return (current = readToken(text, now()))
      } finally {
        askedAt = -Infinity
      }
    })())
  }

  return {
    /** One that lives, as far as we can tell: the server is the judge. */
    get: async (): Promise<Token> => (current && current.until > now() + 1000 ? current : ask('connect')),
    renew: () => ask('renew'),
    /** The server doesn't take this one. */
    refuse(text: string): void {
      if (current?.text === text) current = null
      if (!current) refused = true
    },
  }
}

/**
 * Reads what a JWT says of itself. This clock may be wrong: a token never lives longer than from `iat` to `exp`, and one that
 * seems to have ended before it came is taken as new.
 */
export function readToken(text: string, now: number): Token {
  let claims: { sub?: string; exp?: number; iat?: number } = {}
  try {
    claims = JSON.parse(atob((text.split('.')[1] ?? '').replace(/[-_]/g, (c) => (c === '-' ? '+' : '/'))))
  } catch {
    // Not a JWT: then only the server knows.
  }
  const { sub, exp, iat } = claims
  const whole = exp && iat ? (exp - iat) * 1000 : Infinity
  const left = exp ? Math.min(exp * 1000 - now, whole) : Infinity
  return { text, user: sub, until: now + (left > 0 ? left : whole) }
}
