import type { Environment } from './environment.ts'
import type { Tokens } from './token.ts'

export interface FieldError {
  field: string
  message: string
}

/** What the server answered instead of doing it (RFC 9457). Status 0: it wasn't reached. */
export class ApiError extends Error {
  declare readonly status: number
  /** Stable; branch on this. */
  declare readonly code: string | undefined
  declare readonly errors: FieldError[] | undefined

  constructor(status: number, problem: Problem) {
    super(problem.detail ?? problem.title)
    Object.assign(this, problem, { name: 'ApiError', status })
  }
}

interface Problem {
  title?: string
  detail?: string
  code?: string
  errors?: FieldError[]
}

export type Api = <T>(method: string, path: string, body?: unknown, signal?: AbortSignal) => Promise<T>

/** Calls the inbox API. A token that is refused is asked for once more. */
export function createApi(env: Environment, tokens: Tokens): Api {
  return async (method, path, body, signal) => {
    for (let refused = ''; ; ) {
      const { text } = await tokens.get()
      if (!text || text === refused) throw new ApiError(401, { title: 'no token', code: 'unauthorized' })
      let response: Response
      try {
        response = await env.fetch(env.address(path), {
          method,
          headers: { Authorization: `Bearer ${text}`, 'Content-Type': 'application/json' },
          body: JSON.stringify(body),
          signal: signal ?? AbortSignal.timeout(20_000),
        })
      } catch (error) {
        throw signal?.aborted ? error : new ApiError(0, { title: 'not reached', code: 'unreachable' })
      }
      const { ok, status } = response
      const answer = await response.json().catch(() => ({ title: `HTTP ${status}` }))
      if (ok) return answer
      if (status === 401) tokens.refuse(text)
      if (status !== 401 || refused) throw new ApiError(status, answer)
      refused = text
    }
  }
}
