import { Type } from 'typebox'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { type ErrorFacts, IpamError } from '../../errors.ts'
import { Nullable, oneOf } from '../../schema.ts'
import { allocateEach, type NewAllocations } from './allocator-store.ts'
import type { Allocation } from './schema.ts'

/** What to do when an item is refused: undo all, or go on with the others. */
export type OnError = 'abort' | 'continue'

const attemptsMax = 20

/**
 * Allocates for many requests in one transaction, some of which may be refused already. Each has its own outcome; if all are to be done
 * or none, a refusal undoes all of it.
 *
 * @throws {IpamError} the refusal of the first item, naming the others that were refused
 */
export function allocateMany(
  db: Database,
  requests: readonly (NewAllocations | IpamError)[],
  on_error: OnError,
): Promise<(Allocation[] | IpamError)[]> {
  return retryTransaction(db, async tx => {
    const outcomes = requests.map((request): Allocation[] | IpamError =>
      request instanceof IpamError ? request : new IpamError('overloaded'),
    )
    let todo = requests.flatMap((request, index) =>
      request instanceof IpamError ? [] : [{ request, index }],
    )
    for (let attempt = 0; todo.length > 0 && attempt < attemptsMax; attempt++) {
      const found = await allocateEach(
        tx,
        todo.map(({ request }) => request),
      )
      for (const [n, outcome] of found.entries()) {
        const index = todo[n]?.index ?? 0
        if (outcome instanceof IpamError) outcomes[index] = outcome
        else if (outcome !== 'again') outcomes[index] = outcome.allocations
      }
      todo = todo.filter((_, n) => found[n] === 'again')
    }
    return settle(outcomes, on_error)
  })
}

/** How many of the refused items an error names. */
const namedMax = 10

function settle<T>(outcomes: (T | IpamError)[], on_error: OnError): (T | IpamError)[] {
  if (on_error === 'continue') return outcomes
  const refused = outcomes.flatMap((outcome, index) =>
    outcome instanceof IpamError ? [{ index, code: outcome.code, detail: outcome.message }] : [],
  )
  const [first] = refused
  if (!first) return outcomes
  const facts: ErrorFacts = { field: `items/${first.index}`, items: refused.slice(0, namedMax) }
  throw new IpamError(first.code, `items/${first.index}: ${first.detail}`, facts)
}

export const addressStates = [
  'free',
  'allocated',
  'held',
  'quarantined',
  'excluded',
  'in_child',
  'outside',
] as const

const Explained = Type.Object({
  state: oneOf(addressStates),
  allocation_id: Nullable(Type.String()),
  purpose: Nullable(Type.String()),
  detail: Nullable(Type.String()),
})

/** What an address of a block is at the moment, and the rule that decides. */
export async function explainAddress(
  db: Database,
  { block_id, address }: { readonly block_id: string; readonly address: string },
) {
  const [found] = await rows(db, Explained)`
    select state, allocation_id, purpose, detail from explain_address(${block_id}, ${address})`
  if (!found) throw new Error('an address is in some state')
  return { address, ...found }
}
