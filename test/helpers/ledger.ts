import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import { NoAnswer, type Problem } from './http-client.ts'
import type { ServerProcess } from './server-process.ts'

/** What clients asked for and what they were told, to be compared with the database. */
export class Ledger {
  /** Acknowledged allocations as they were first answered, and how they ended. */
  readonly allocated = new Map<string, Allocation>()
  readonly released = new Map<string, Allocation>()
  readonly created = new Map<string, Block>()
  readonly deleted = new Set<string>()
  /** Requests without an answer: they were carried out, or not. */
  readonly doubtfulOwners = new Set<string>()
  readonly doubtfulReleases = new Set<string>()
  readonly doubtfulDeletes = new Set<string>()
  /** How many calls nobody knows the outcome of. */
  lost = 0
  /** How often which operation had which outcome. */
  readonly outcomes = new Map<string, number>()
  /** Answers that contradict the documentation or an earlier answer. */
  readonly surprises: string[] = []

  count(operation: string, outcome: string): void {
    const key = `${operation}: ${outcome}`
    this.outcomes.set(key, (this.outcomes.get(key) ?? 0) + 1)
  }

  surprise(what: string): void {
    if (this.surprises.length < 100) this.surprises.push(what)
  }
}

export type Call = {
  /** What the client does, in its words. */
  readonly operation: string
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly body?: object
  readonly status: number
  /** The codes that a refusal may have. */
  readonly refusals?: readonly string[]
}

/** The end of a call: the answer's body, a documented refusal, or no way to know. */
export type Outcome<T> =
  | { readonly kind: 'done'; readonly body: T }
  | { readonly kind: 'refused'; readonly code: string }
  | { readonly kind: 'unknown' }

/** What may happen to a call because a process was killed. */
export type Weather = {
  readonly mayLoseAnswers: boolean
  readonly mayLackDatabase: boolean
}

/** Sends a request, and checks that its outcome is one of those that fit. */
export async function call<T>(
  { server, ledger, weather }: { server: ServerProcess; ledger: Ledger; weather: Weather },
  { operation, method, path, body, status, refusals = [] }: Call,
): Promise<Outcome<T>> {
  try {
    const answer = await server.request<T | Problem>(method, path, body)
    if (answer.status === status) {
      ledger.count(operation, String(status))
      return { kind: 'done', body: answer.body as T }
    }
    const { code, detail } = (answer.body ?? {}) as Problem
    ledger.count(operation, `${answer.status} ${code}`)
    const isProblem = answer.headers['content-type']?.startsWith('application/problem+json')
    if (code === 'database_unavailable' && weather.mayLackDatabase && isProblem) {
      ledger.lost += 1
      return { kind: 'unknown' }
    }
    if (!isProblem || !refusals.includes(code)) {
      ledger.surprise(`${operation} ${path}: ${answer.status} ${code}: ${detail}`)
    }
    return { kind: 'refused', code }
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error
    ledger.count(operation, error.code)
    ledger.lost += 1
    if (!weather.mayLoseAnswers) ledger.surprise(`${operation} ${path}: ${error.message}`)
    return { kind: 'unknown' }
  }
}
