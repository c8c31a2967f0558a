/** What of a block's or network's counts decides how full it is. */
export type Counts = { readonly total: bigint; readonly excluded: bigint; readonly free: bigint }

/** What can be given out at all, and how much of it is: allocated, held or in quarantine. */
export function useOf({ total, excluded, free }: Counts): { usable: bigint; used: bigint } {
  const usable = total - excluded
  return { usable, used: usable - free }
}

/** The share of what can be given out that is used, in percent, cut to two digits; 0 of nothing. */
export function usedPercent(counts: Counts): number {
  const { usable, used } = useOf(counts)
  return usable === 0n ? 0 : Number((used * 10_000n) / usable) / 100
}

/** By how many percent points use must fall below a threshold that it had reached to leave it. */
export const hysteresis = 5n

export type Crossing = {
  /** Thresholds reached since the last look, lowest first. */
  readonly entered: readonly number[]
  /** Thresholds left since the last look, or no longer set; highest first. */
  readonly left: readonly number[]
  /** All that are reached now, lowest first. */
  readonly reached: readonly number[]
}

/**
 * Which thresholds use has crossed since `reached` was written down. Not with percentages that
 * were rounded: 79.999 % has not reached 80. What is not used at all has reached nothing.
 */
export function crossThresholds(
  counts: Counts,
  { thresholds, reached }: { thresholds: readonly number[]; reached: readonly number[] },
): Crossing {
  const { usable, used } = useOf(counts)
  const isAtLeast = (percent: bigint) => used * 100n >= percent * usable
  const before = new Set(reached)
  const now = [...new Set(thresholds)]
    .filter(one => used > 0n && isAtLeast(BigInt(one) - (before.has(one) ? hysteresis : 0n)))
    .toSorted((a, b) => a - b)
  return {
    entered: now.filter(one => !before.has(one)),
    left: [...before].filter(one => !now.includes(one)).toSorted((a, b) => b - a),
    reached: now,
  }
}
