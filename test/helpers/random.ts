/** Choices that a seed repeats: mulberry32. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** A whole number below `end`. */
  below(end: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * end)
  }

  /** A whole number from `low` to `high`. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1)
  }

  pick<T>(values: readonly T[]): T | undefined {
    return values[this.below(values.length)]
  }

  /** Removes one of the values and returns it. */
  take<T>(values: T[]): T | undefined {
    return values.splice(this.below(values.length), 1)[0]
  }

  /** One of the values, each as often as its weight says. */
  weighted<T extends { readonly weight: number }>(values: readonly T[]): T {
    let rest = this.below(values.reduce((sum, { weight }) => sum + weight, 0))
    for (const value of values) {
      if (rest < value.weight) return value
      rest -= value.weight
    }
    throw new RangeError('nothing to choose from')
  }
}

/** Some of a few values, at most so many, in any order. */
export function someOf<T>(random: Random, values: readonly T[], most: number): T[] {
  const left = [...values]
  const wanted = Math.min(random.below(most + 1), values.length)
  return Array.from({ length: wanted }, () => random.take(left) as T)
}
