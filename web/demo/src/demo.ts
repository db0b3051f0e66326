// What the demo's endpoints answer (cmd/duebell/demo/control.go, loans.go, mailbox.go).

export interface Member {
  id: string
  name: string
  time_zone: string
  locale: string
  role: 'borrower' | 'officer'
}

export interface Due {
  loan_id: string
  product: string
  number: number
  due_date: string
  amount: string
  /** To the due date; negative: overdue. */
  days: number
}

export interface Loan {
  id: string
  product: string
  status: 'active' | 'closed' | 'charged_off'
  total: string
  paid: string
  outstanding: string
  open: number
  next: Due | null
}

export const stages = ['submitted', 'under_review', 'approved', 'disbursed'] as const

export interface Customer {
  id: string
  name: string
  time_zone: string
  locale: string
  today: string
  currency: string
  outstanding: string
  overdue: string
  next: Due | null
  loans: Loan[]
  application: { id: string; status: (typeof stages)[number] } | null
}

export interface Letter {
  id: string
  kind: string
  at: string
  to: string
  subject: string
  text: string
}

export interface Mailbox {
  letters: Letter[]
  off: number
  settled: number
}

async function answerOf<T>(response: Response): Promise<T> {
  const answer = await response.json()
  if (!response.ok) throw new Error(answer.error)
  return answer
}

/** Calls the demo, over the device's own network where that can be cut. */
export function createDemo(over: typeof fetch = (...call) => fetch(...call)) {
  const get = async <T>(path: string, search: Record<string, string> = {}) =>
    answerOf<T>(await over(`/demo/${path}?${new URLSearchParams(search)}`))
  const press = async <T = { message: string }>(button: string, body: object) =>
    answerOf<T>(
      await over(`/demo/${button}`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
      }),
    )
  return {
    state: () => get<{ now: string; cast: Member[] }>('state'),
    customers: async () => (await get<{ customers: Customer[] }>('loans')).customers,
    customer: async (user: string) => (await get<{ customers: Customer[] }>('loans', { user })).customers[0],
    mail: (user: string) => get<Mailbox>('mail', { user }),
    token: async (user: string) => (await press<{ token: string }>('token', { user })).token,
    changeStatus: (user: string) => press('status', { user }),
    pay: (user: string) => press('pay', { user }),
    jump: (days: number) => press('jump', { days }),
  }
}

export type Demo = ReturnType<typeof createDemo>
