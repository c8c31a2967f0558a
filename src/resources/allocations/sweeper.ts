import type { Database } from '../../db/database.ts'
import { reclaimDue } from './hold-store.ts'

export type SweeperOptions = {
  /** How long to rest after all was done. */
  readonly seconds: number
  readonly onError: (error: unknown) => void
}

/** Small enough that allocations in the same blocks hardly wait. */
const limits = { blocks_max: 8, at_most: 250 }

/** After so many transactions a sweep rests too: what cannot be ended is not tried without end. */
const batchesMax = 1000

/**
 * Ends holds that have lapsed, and quarantines that are over, now and then. What is due stands in
 * the database, so any number of processes may do this, and none has to: allocations look for
 * what is due in their blocks themselves.
 *
 * Returns a function that stops it, when what is under way is done.
 */
export function startSweeper(
  db: Database,
  { seconds, onError }: SweeperOptions,
): () => Promise<void> {
  let isStopped = false
  let timer = setTimeout(start, seconds * 1000).unref()
  let sweeping = Promise.resolve()

  async function sweep() {
    try {
      for (let batch = 0; batch < batchesMax && !isStopped; batch++) {
        if ((await reclaimDue(db, limits)) === 0) break
      }
    } catch (error) {
      onError(error)
    }
    if (!isStopped) timer = setTimeout(start, seconds * 1000).unref()
  }
  function start() {
    sweeping = sweep()
  }
  return () => {
    isStopped = true
    clearTimeout(timer)
    return sweeping
  }
}
