import { createBoundedMap } from '../bounded-map.ts'

export type Rate = {
  /** What comes back to a bucket in a second; null is no limit. */
  readonly per_second: number | null
  /** What a bucket holds. */
  readonly burst: number
}

export type BucketOptions = Rate & {
  /** Of how many keys; who was away for longest is forgotten, and begins with a full bucket. */
  readonly remembered_max: number
  /** Milliseconds of any clock that only goes forward. */
  readonly now: () => number
}

/** One bucket for each key (a token bucket): full at first, and filled again at an even rate. */
export type Buckets = {
  /** Takes one if there is one. What is left, or below zero what is lacking until there is one. */
  take(key: string): number
  /** The same without taking any. */
  look(key: string): number
  /** Takes one even if there is none; as much as a bucket holds may be owed. */
  charge(key: string): void
  /** Seconds until so much has come back, rounded up, one at least. */
  secondsFor(amount: number): number
  /** Of how many keys something is known. */
  readonly size: () => number
}

/** Null if there is no limit. */
export function createBuckets(options: BucketOptions): Buckets | null {
  const { per_second, burst, remembered_max, now } = options
  if (per_second === null) return null
  const buckets = createBoundedMap<{ level: number; at: number }>(remembered_max)

  function filled(key: string) {
    const at = now()
    const known = buckets.get(key)
    if (known === undefined) {
      const made = { level: burst, at }
      buckets.set(key, made)
      return made
    }
    known.level = Math.min(burst, known.level + ((at - known.at) / 1000) * (per_second as number))
    known.at = at
    return known
  }

  return {
    take(key) {
      const bucket = filled(key)
      if (bucket.level < 1) return bucket.level - 1
      bucket.level -= 1
      return bucket.level
    },
    look(key) {
      const { level } = filled(key)
      return level < 1 ? level - 1 : level
    },
    charge(key) {
      const bucket = filled(key)
      bucket.level = Math.max(-burst, bucket.level - 1)
    },
    secondsFor: amount => Math.max(1, Math.ceil(amount / per_second)),
    size: buckets.size,
  }
}
