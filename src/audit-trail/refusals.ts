import type { FastifyRequest } from 'fastify'
import { callerOf } from '../auth/authenticate.ts'
import { ownerOf } from '../auth/authority.ts'
import type { Caller } from '../auth/caller.ts'
import type { Database } from '../db/database.ts'
import { ruleOfOperation } from '../policy/operation-rules.ts'
import { readOperation, readRule } from './actions.ts'
import { hostOf, type Origin } from './asker.ts'
import type { Callers } from './callers.ts'
import { type Denial, denialIn } from './denials.ts'
import { globalRequestIdOf, isWrite, operationOf, uuidOf } from './done-by.ts'
import { appendRefusals, type Refusal } from './refusal-store.ts'

export type RefusalsOptions = {
  readonly db: Database
  readonly callers: Callers
  /** How many that differ may wait to be written; more are counted, and not noted. */
  readonly waiting_max: number
  /** How long they wait for others: seconds. */
  readonly wait_seconds: number
  readonly observer: RefusalObserver
  readonly onError: (error: unknown) => void
}

/** Is told what became of refusals. */
export type RefusalObserver = { onNoted(count: number): void; onDropped(count: number): void }

/** What was refused, on its way into the audit trail. */
export type Refusals = {
  note(request: FastifyRequest, status: number): void
  /** Writes what waits. */
  flush(): Promise<void>
  close(): Promise<void>
}

type Waiting = {
  count: number
  readonly refusal: Omit<Refusal, 'count' | 'caller_id'>
  /** Who asked, if that is known. */
  readonly caller: Caller | null
  readonly origin: Origin
}

/**
 * Notes what was refused, beside the requests: nobody waits for it. Those that are alike (who or from
 * where, what, and why) within a second become one with a count, so that whoever asks without end
 * costs a row a second; and how many others wait is bounded.
 */
export function createRefusals(options: RefusalsOptions): Refusals {
  const { db, callers, waiting_max, wait_seconds, observer, onError } = options
  let waiting = new Map<string, Waiting>()
  let writing: Promise<void> = Promise.resolve()
  const timer = setInterval(() => void flush(), wait_seconds * 1000).unref()

  function note(request: FastifyRequest, status: number): void {
    const denial = denialIn(request) ?? (status === 403 ? otherDenial(request) : null)
    if (!denial && !(status === 401 && isWrite(request))) return
    const one = denial ? denied(request, denial) : unauthenticated(request)
    const key = keyOf(one)
    const alike = waiting.get(key)
    if (alike) alike.count++
    else if (waiting.size < waiting_max) waiting.set(key, one)
    else observer.onDropped(1)
  }

  async function write(batch: readonly Waiting[]): Promise<void> {
    const count = batch.reduce((sum, one) => sum + one.count, 0)
    try {
      const refusals: Refusal[] = []
      for (const one of batch) {
        const { caller, origin, refusal } = one
        const caller_id = caller && (await callers.idOf(origin, caller, refusal.operation))
        refusals.push({ ...refusal, caller_id, count: one.count })
      }
      await appendRefusals(db, refusals)
      observer.onNoted(count)
    } catch (error) {
      observer.onDropped(count)
      onError(error)
    }
  }

  /** One after the other, so that a slow database is asked for one thing at a time. */
  function flush(): Promise<void> {
    writing = writing.then(() => {
      if (waiting.size === 0) return undefined
      const batch = [...waiting.values()]
      waiting = new Map()
      return write(batch)
    })
    return writing
  }

  return {
    note,
    flush,
    async close() {
      clearInterval(timer)
      await flush()
    },
  }
}

/** What no rule refuses: as a token with more rights than whoever asks for it. */
function otherDenial(request: FastifyRequest): Denial | null {
  const rule = ruleOfOperation(operationOf(request))
  return rule && { rule, object: null, isHidden: false }
}

function denied(request: FastifyRequest, denial: Denial): Waiting {
  const { rule, object, isHidden } = denial
  const caller = callerOf(request)
  const { object_type, action } = readRule(rule, request.method)
  const refusal = {
    ...commonOf(request),
    address: null,
    agent: null,
    project_id: isHidden ? null : caller.project_id,
    rule,
    status: isHidden ? 404 : 403,
    object_type: object?.kind ?? object_type,
    object_id: object?.id ?? null,
    action,
  }
  return { count: 1, refusal, caller, origin: originOf(request) }
}

function unauthenticated(request: FastifyRequest): Waiting {
  const origin = originOf(request)
  const refusal = {
    ...commonOf(request),
    ...hostOf(origin),
    project_id: null,
    rule: null,
    status: 401,
    ...readOperation(operationOf(request)),
    object_id: null,
  }
  return { count: 1, refusal, caller: null, origin }
}

const originOf = ({ ip, headers }: FastifyRequest): Origin => ({ ip, headers })

const commonOf = (request: FastifyRequest) => ({
  at: new Date().toISOString(),
  request_id: uuidOf(request.id) ?? '',
  global_request_id: globalRequestIdOf(request),
  operation: operationOf(request),
})

function keyOf({ refusal, caller, origin }: Waiting): string {
  const { operation, rule, status, object_id } = refusal
  const who = caller ? ownerOf(caller) : null
  return JSON.stringify([who, origin.ip, operation, rule, status, object_id])
}
