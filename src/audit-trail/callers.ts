import type { Caller } from '../auth/caller.ts'
import type { Database } from '../db/database.ts'
import { askerOf, digestOf, hostOf, type Origin } from './asker.ts'
import { saveCaller } from './caller-store.ts'

/** Knows the numbers of callers. */
export type Callers = {
  /** The number of who makes a request; a promise only if the database has to be asked. */
  idOf(origin: Origin, caller: Caller, operation: string): number | Promise<number>
}

type Known = { readonly saved: Promise<number>; id: number | null; readonly until: number }

const knownMax = 10_000
/** So many places and operations of one caller are found without making a digest. */
const waysMax = 200
/** How long it is believed that a caller is there: those that nobody names are removed in time. */
const rememberedMilliseconds = 3_600_000

/** What it has learned is remembered for an hour, so that a request costs no statement for it. */
export function createCallers(db: Database): Callers {
  const known = new Map<string, Known>()
  const ways = new WeakMap<Caller, Map<string, Known>>()

  function look(origin: Origin, caller: Caller, operation: string): Known {
    const asker = askerOf(caller, operation, hostOf(origin))
    const digest = digestOf(asker).toString('base64')
    const found = known.get(digest)
    if (found && found.until > Date.now()) return found
    const saved = saveCaller(db, asker)
    const entry: Known = { saved, id: null, until: Date.now() + rememberedMilliseconds }
    saved.then(
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

  return {
    idOf(origin, caller, operation) {
      const ofCaller = ways.get(caller) ?? new Map<string, Known>()
      ways.set(caller, ofCaller)
      const way = `${operation}\n${origin.ip}\n${origin.headers['user-agent'] ?? ''}`
      const found = ofCaller.get(way)
      if (found?.id && found.until > Date.now()) return found.id
      const entry = look(origin, caller, operation)
      if (ofCaller.size >= waysMax) ofCaller.clear()
      if (entry.id !== null) ofCaller.set(way, entry)
      return entry.id ?? entry.saved
    },
  }
}
