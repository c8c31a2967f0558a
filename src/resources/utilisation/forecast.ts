/** How much was used from a time on, until the next such time; oldest first. */
export type UseSince = {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly used: bigint
  /** How much could be given out. */
  readonly usable: bigint
}

export const forecastReasons = [
  'too_few_samples',
  'too_short',
  'not_growing',
  'nothing_usable',
] as const
export type ForecastReason = (typeof forecastReasons)[number]

/** When nothing will be free, if use goes on as it did, or why that cannot be told. */
export type FullForecast = {
  readonly days_to_full: number | null
  readonly reason: ForecastReason | null
  /** Addresses a day; null where the samples do not suffice. */
  readonly growth_per_day: number | null
  /** How many samples it is made of, and from when on. */
  readonly samples: number
  readonly since: number | null
}

const day = 86_400_000
export const windowDays = 30
const spanDaysMin = 1
/** What growth, as a share of the largest change, is no more than rounding. */
const noise = 1e-9

/**
 * Days until all that can be given out is used: what is free now, by the slope of the line that
 * fits the use of the last 30 days best. Use is a step function, for samples are only taken when
 * something changed; the line has the least squares over the time, so that each value weighs as
 * long as it was true and nothing needs to be resampled.
 */
export function forecastFull(samples: readonly UseSince[], now: number): FullForecast {
  const newest = samples.at(-1)
  const end = Math.max(now, newest?.at ?? now)
  const start = end - windowDays * day
  const within = samples.filter((_, index) => (samples[index + 1]?.at ?? end) > start)
  const first = within[0]
  const since = first ? Math.max(first.at, start) : null
  const known = { samples: within.length, since }
  const none = (reason: ForecastReason, growth_per_day: number | null = null) => {
    return { ...known, days_to_full: null, reason, growth_per_day }
  }
  if (newest?.usable === 0n) return none('nothing_usable')
  const isFull = newest !== undefined && newest.used >= newest.usable
  const full = { ...known, days_to_full: 0, reason: null }
  const isEnough = within.length >= 2 && newest !== undefined && since !== null
  const isLong = isEnough && newest.at - since >= spanDaysMin * day
  if (!isLong && isFull) return { ...full, growth_per_day: null }
  if (!isEnough) return none('too_few_samples')
  if (!isLong) return none('too_short')

  const growth_per_day = slopeOf(within, { since, end })
  if (isFull) return { ...full, growth_per_day }
  const days_to_full = Number(newest.usable - newest.used) / growth_per_day
  const isGrowing = growth_per_day > 0 && Number.isFinite(days_to_full)
  if (!isGrowing) return none('not_growing', growth_per_day)
  return { ...known, days_to_full, reason: null, growth_per_day }
}

/**
 * The slope of the line with the least squares over a step function v on a time of length T:
 * 12 / T³ · ∫ (t − middle) · v(t) dt. A step from s to e adds v · (e − s) · (e + s) / 2, where s
 * and e are counted from the middle.
 */
function slopeOf(
  steps: readonly UseSince[],
  { since, end }: { readonly since: number; readonly end: number },
): number {
  const length = (end - since) / day
  const place = (at: number) => (Math.max(at, since) - since) / day - length / 2
  const base = steps[0]?.used ?? 0n
  let moment = 0
  let largest = 0
  for (const [index, { at, used }] of steps.entries()) {
    const [from, to] = [place(at), place(steps[index + 1]?.at ?? end)]
    const value = Number(used - base)
    moment += (value * (to - from) * (to + from)) / 2
    largest = Math.max(largest, Math.abs(value))
  }
  const slope = (12 / length ** 3) * moment
  return Math.abs(slope) * length <= noise * largest ? 0 : slope
}
