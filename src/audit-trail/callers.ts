import type { Caller } from '../auth/caller.ts'
import type { Database } from '../db/database.ts'
import { type Asker, askerOf, digestOf, hostOf, type Origin } from './asker.ts'
import { saveCaller } from './caller-store.ts'

/** Knows the numbers of callers. */
export type Callers = {
  /** The number of who makes a request; a promise only if the database has to be asked. */
  idOf(origin: Origin, caller: Caller, operation: string): number | Promise<number>
}

type Known = {
  readonly saved: Promise<number>
  id: number | null
  /** Until when it is believed without a look that the caller is there. */
  until: number
  isLookedAt: boolean
}

const knownMax = 10_000
/** So many places and operations of one caller are found without making a digest. */
const waysMax = 200
const believedMilliseconds = 3_600_000
/** For how much longer nobody waits for the look: callers that nobody names go a day after events. */
const unsureMilliseconds = 12 * 3_600_000
const retryMilliseconds = 60_000

/**
 * What it has learned is remembered, and looked at again beside the requests every hour: only the first
 * request of a caller waits for a statement.
 */
export function createCallers(db: Database): Callers {
  const known = new Map<string, Known>()
  const ways = new WeakMap<Caller, Map<string, Known>>()

  function find(asker: Asker): Known {
    const digest = digestOf(asker).toString('base64')
    const found = known.get(digest)
    if (found && Date.now() < found.until + unsureMilliseconds) return found
    const entry: Known = {
      saved: saveCaller(db, asker),
      id: null,
      until: Date.now() + believedMilliseconds,
      isLookedAt: false,
    }
    entry.saved.then(
      id => {
        entry.id = id
      },
      () => known.delete(digest),
    )
    known.delete(digest)
    known.set(digest, entry)
    if (known.size > knownMax) known.delete(String(known.keys().next().value))
    return entry
  }

  function lookAgain(entry: Known, asker: Asker): void {
    if (entry.isLookedAt) return
    entry.isLookedAt = true
    const again = () => {
      entry.isLookedAt = false
    }
    saveCaller(db, asker).then(
      id => {
        entry.id = id
        entry.until = Date.now() + believedMilliseconds
        again()
      },
      // A database that is away is not asked with each request.
      () => setTimeout(again, retryMilliseconds).unref(),
    )
  }

  return {
    idOf(origin, caller, operation) {
      const ofCaller = ways.get(caller) ?? new Map<string, Known>()
      ways.set(caller, ofCaller)
      const way = `${operation}\n${origin.ip}\n${origin.headers['user-agent'] ?? ''}`
      const quick = ofCaller.get(way)
      if (quick?.id && Date.now() < quick.until) return quick.id
      const asker = askerOf(caller, operation, hostOf(origin))
      const entry = find(asker)
      if (entry.id === null) return entry.saved
      if (Date.now() >= entry.until) lookAgain(entry, asker)
      if (ofCaller.size >= waysMax) ofCaller.clear()
      ofCaller.set(way, entry)
      return entry.id
    },
  }
}
