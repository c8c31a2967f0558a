import { median } from './measure.ts'

export type SideName = 'ours' | 'theirs'

/** Requests per second in one round: several measurements of each side, which do the same work. */
export type RoundRates = Readonly<Record<SideName, readonly number[]>>

/** What many rounds say of ours divided by theirs. */
export type Ratio = {
  /** The median of the rounds. */
  readonly ratio: number
  /**
   * In 19 runs of 20 the median of rounds without end lies between these; null when there are too
   * few rounds to say so.
   */
  readonly ratio_low: number | null
  readonly ratio_high: number | null
  readonly ratio_min: number
  readonly ratio_max: number
  /** Of each round. */
  readonly ratios: readonly number[]
}

/** Divides ours by theirs, round by round. */
export function compareRates(rounds: readonly RoundRates[]): Ratio {
  const ratios = rounds.map(({ ours, theirs }) => roundRatio(meanRate(ours) / meanRate(theirs)))
  const sorted = ratios.toSorted((a, b) => a - b)
  const rank = intervalRank(sorted.length)
  return {
    ratio: roundRatio(median(sorted)),
    ratio_low: sorted[rank - 1] ?? null,
    ratio_high: sorted[sorted.length - rank] ?? null,
    ratio_min: Math.min(...sorted),
    ratio_max: Math.max(...sorted),
    ratios,
  }
}

/** All the work of measurements that did the same each, by all their time. */
export const meanRate = (rates: readonly number[]) =>
  rates.length / rates.reduce((seconds, rate) => seconds + 1 / rate, 0)

/**
 * The values at this rank from below and from above hold the median between them with 95 % (a
 * binomial count, nearly normal); 0 when there are too few.
 */
export function intervalRank(count: number): number {
  return Math.max(0, Math.floor((count + 1 - 1.96 * Math.sqrt(count)) / 2))
}

const roundRatio = (value: number) => Math.round(value * 1000) / 1000
