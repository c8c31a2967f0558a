import { createBoundedMap } from '../../bounded-map.ts'

/** How long an address that a machine found in use is told to nobody, if the API says nothing. */
const withholdSeconds = 600
/** More than that are declined at once only by somebody who means no good. */
const withheldMax = 10_000

/** Addresses that were declined here, of which the API may not know yet. */
export type Withheld = {
  /** Withholds the address of an allocation from now on; until when, in ms since 1970. */
  add(allocation_id: string, now: number): number
  /** Until when it is withheld, given what the API says. Once that says it, it alone counts. */
  until(allocation_id: string, said: number | null): number | null
}

export function createWithheld(): Withheld {
  const ends = createBoundedMap<{ readonly at: number }>(withheldMax)
  return {
    add(allocation_id, now) {
      const at = now + withholdSeconds * 1000
      ends.set(allocation_id, { at })
      return at
    },
    until(allocation_id, said) {
      if (ends.size() === 0) return said
      if (said !== null) ends.delete(allocation_id)
      return said ?? ends.get(allocation_id)?.at ?? null
    },
  }
}
