/** An unsigned JWT. `ttl` in seconds; it was issued now. */
export function fakeToken({ user = 'u1', ttl = 3600, now = Date.now() }: { user?: string; ttl?: number; now?: number } = {}): string {
  const part = (value: object) => btoa(JSON.stringify(value)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '')
  const iat = Math.floor(now / 1000)
  return `${part({ alg: 'none' })}.${part({ sub: user, iat, exp: iat + ttl, jti: `${(serial += 1)}` })}.x`
}

let serial = 0
