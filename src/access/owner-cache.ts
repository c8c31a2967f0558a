import type { Database } from '../db/database.ts'
import { IpamError } from '../errors.ts'
import { findOwners, type Owner, type Owners } from './target-store.ts'
import type { Named } from './things.ts'

/** Remembers whose blocks and networks are. */
export type OwnerCache = {
  findOwners(named: readonly Pick<Named, 'kind' | 'id'>[]): Promise<Owners>
}

const knownMax = 20_000
const networkMilliseconds = 5_000

/**
 * Whose a block is never changes, and no other block ever gets its id, so that what is known of it
 * stays true; that it is gone is for the allocation to find out. The id of a network can be chosen,
 * and so be that of another one later: of networks it is known for a few seconds.
 */
export function createOwnerCache(db: Database): OwnerCache {
  const known = new Map<string, { readonly owner: Owner; readonly until: number }>()
  const keyOf = ({ kind, id }: Pick<Named, 'kind' | 'id'>) => `${kind} ${id.toLowerCase()}`
  return {
    async findOwners(named) {
      const now = performance.now()
      const isKnown = (one: Pick<Named, 'kind' | 'id'>) => (known.get(keyOf(one))?.until ?? 0) > now
      const asked = named.filter(one => !isKnown(one))
      const kept = new Map(named.filter(isKnown).map(one => [keyOf(one), known.get(keyOf(one))]))
      const found = asked.length > 0 ? await findOwners(db, asked) : () => undefined
      for (const one of asked) {
        const owner = found(one)
        if (!owner) continue
        if (known.size >= knownMax) known.clear()
        const until = one.kind === 'network' ? now + networkMilliseconds : Number.POSITIVE_INFINITY
        known.set(keyOf(one), { owner, until })
      }
      return one => kept.get(keyOf(one))?.owner ?? found(one)
    },
  }
}

/** The refusal that the work ends in; null if in none. */
export function asRefusal(work: () => void): IpamError | null {
  try {
    work()
    return null
  } catch (error) {
    if (error instanceof IpamError) return error
    throw error
  }
}
