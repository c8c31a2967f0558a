import type { FastifyRequest } from 'fastify'
import type { Database } from '../db/database.ts'
import type { keyOf } from '../idempotency.ts'
import type { RuleName } from '../policy/defaults.ts'
import type { Target } from '../policy/evaluate.ts'
import type { Access } from './access.ts'
import { findGranted, isKeyKnown, type Owner } from './target-store.ts'
import type { Named } from './things.ts'

// Where addresses are taken from: a block or a network, whose project the rules call the source. One that
// is granted to the project for which they are taken counts as its own.

type IdempotencyKey = NonNullable<ReturnType<typeof keyOf>>

/** Addresses of a place that are to be taken for a project. */
export type Taking = {
  readonly rule: RuleName
  readonly source: Pick<Named, 'kind' | 'id'>
  readonly owner: Owner
  /** For whom; the rest of what the rules are asked about. */
  readonly target: Target & { readonly project_id: string | null }
}

/** Whether the rules allow it; null if they do only under a grant. */
function mayTake({ may }: Access, { rule, owner, target }: Taking): boolean | null {
  if (may(rule, withSource(target, owner.project_id))) return true
  const { project_id } = target
  if (project_id !== null && may(rule, withSource(target, project_id))) return null
  return false
}

export const withSource = (target: Target, project_id: string | null): Target => ({
  ...target,
  source: { project_id },
})

/**
 * How addresses may be taken: as it is, under a grant, not for want of one (nor is the place seen by one
 * then), or not at all.
 */
export type Way = 'free' | 'granted' | 'not granted' | 'refused'

/**
 * How each may be taken. That there is a grant is looked up here to
 * refuse who has none before anything is locked; the transaction that takes the addresses looks again.
 */
export async function waysToTake(
  db: Database,
  access: Access,
  takings: readonly Taking[],
  key: IdempotencyKey | null,
): Promise<Way[]> {
  const verdicts = takings.map(taking => mayTake(access, taking))
  const open = takings.flatMap(({ source, target }, index) =>
    verdicts[index] === null ? [{ ...source, project_id: target.project_id, index }] : [],
  )
  const granted = await findGranted(db, open)
  // What was done under a key is answered again, even if it was revoked meanwhile.
  const isRepeated = granted.size < open.length && key !== null && (await isKeyKnown(db, key))
  const found = new Set(
    open.filter((_, n) => isRepeated || granted.has(n)).map(({ index }) => index),
  )
  return verdicts.map((verdict, index) => {
    if (verdict === true) return 'free'
    if (verdict === false) return 'refused'
    return found.has(index) ? 'granted' : 'not granted'
  })
}

type Request = Pick<FastifyRequest, 'getDecorator'>

/** The blocks and networks from which the request may take addresses only under a grant. */
export type UnderGrants = ReadonlySet<string>
export const noGrants: UnderGrants = new Set()
export const grantsNeededBy = (request: Request): UnderGrants =>
  request.getDecorator<UnderGrants>('underGrants')
