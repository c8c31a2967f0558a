import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { crossThresholds, usedPercent } from './thresholds.ts'

/** A block that could give out `usable` addresses, and has given out `used` of them. */
const counts = (used: number | bigint, usable: number | bigint) => ({
  total: BigInt(usable) + 3n,
  excluded: 3n,
  free: BigInt(usable) - BigInt(used),
})

describe('the share that is used', () => {
  test('is one of what can be given out, cut and not rounded', () => {
    expect(usedPercent(counts(127, 254))).toBe(50)
    expect(usedPercent(counts(1, 3))).toBe(33.33)
    expect(usedPercent(counts(99_999, 100_000))).toBe(99.99)
    expect(usedPercent(counts(2n ** 127n, 2n ** 128n))).toBe(50)
  })

  test('is none of nothing', () => {
    expect(usedPercent(counts(0, 0))).toBe(0)
  })
})

const cross = (used: number, thresholds: number[], reached: number[] = []) =>
  crossThresholds(counts(used, 1000), { thresholds, reached })

describe('a threshold', () => {
  test('is reached at its very percentage, and not below', () => {
    expect(cross(799, [80])).toEqual({ entered: [], left: [], reached: [] })
    expect(cross(800, [80])).toEqual({ entered: [80], left: [], reached: [80] })
  })

  test('is left when use has fallen by more than five percent points', () => {
    expect(cross(750, [80], [80])).toEqual({ entered: [], left: [], reached: [80] })
    expect(cross(749, [80], [80])).toEqual({ entered: [], left: [80], reached: [] })
  })

  test('that is small is left when nothing is used', () => {
    expect(cross(1, [5], [5])).toMatchObject({ left: [] })
    expect(cross(0, [5], [5])).toMatchObject({ left: [5] })
  })

  test('is one of several that are crossed at once', () => {
    expect(cross(960, [95, 80, 90, 80])).toMatchObject({ entered: [80, 90, 95] })
    expect(cross(100, [80, 90, 95], [80, 90, 95])).toMatchObject({ left: [95, 90, 80] })
  })

  test('that is no longer set is left', () => {
    expect(cross(960, [90], [80, 90])).toEqual({ entered: [], left: [80], reached: [90] })
  })

  test('is never reached where nothing can be given out', () => {
    expect(crossThresholds(counts(0, 0), { thresholds: [1], reached: [] }).entered).toEqual([])
  })
})

test('each crossing is told once, and every end belongs to a beginning', () => {
  const threshold = fc.integer({ min: 1, max: 100 })
  fc.assert(
    fc.property(
      fc.uniqueArray(threshold, { maxLength: 5 }),
      fc.array(fc.integer({ min: 0, max: 1000 }), { maxLength: 40 }),
      (thresholds, uses) => {
        let reached: readonly number[] = []
        for (const used of uses) {
          const before = new Set(reached)
          const crossing = cross(used, thresholds, [...reached])
          for (const one of crossing.entered) expect(before.has(one)).toBe(false)
          for (const one of crossing.left) expect(before.has(one)).toBe(true)
          for (const one of thresholds) {
            if (used >= one * 10) expect(crossing.reached).toContain(one)
            if (used < Math.max(1, (one - 5) * 10)) expect(crossing.reached).not.toContain(one)
          }
          reached = crossing.reached
          expect(cross(used, thresholds, [...reached])).toEqual({ entered: [], left: [], reached })
        }
      },
    ),
  )
})
