import fc from 'fast-check'
import { expect, test } from 'vitest'
import { asCompareTable, makeCompareReport } from '../bench/compare-report.ts'
import { compareRates, intervalRank, type RoundRates } from '../bench/ratios.ts'

const rounds = (...ratios: number[]): RoundRates[] =>
  ratios.map(ratio => ({ ours: [ratio * 1000], theirs: [1000] }))

const report = (core: readonly RoundRates[], floor = 0.9) =>
  makeCompareReport({
    machine: {
      cpus: 2,
      model: 'any',
      memory_mb: 1,
      load_average: 0,
      node: 'v20',
      postgres: '15',
      fsync: 'on',
      synchronous_commit: 'on',
    },
    settings: { revision: 'HEAD', clients: 64, seconds: 1, rounds: 1, rounds_max: 1, floor },
    ours: { commit: 'a'.repeat(40), is_changed: false },
    theirs: { commit: 'b'.repeat(40) },
    cases: new Map([
      ['allocate sequential', core],
      ['release', rounds(0.1)],
    ]),
    left_out: [],
  })

test('a ratio is the median of the rounds, so that one bad round does not decide', () => {
  const { ratio, ratio_min, ratio_max } = compareRates(rounds(1.01, 0.2, 0.99, 1, 1.02))
  expect({ ratio, ratio_min, ratio_max }).toEqual({ ratio: 1, ratio_min: 0.2, ratio_max: 1.02 })
})

test('in a round all the work is divided by all the time', () => {
  // A thousand requests at 1000/s and as many at 500/s: 2000 in 3 s.
  const slowOnce = [{ ours: [1000, 500], theirs: [1000, 1000] }]
  expect(compareRates(slowOnce).ratio).toBe(0.667)
})

test('a drift that is the same for both sides changes no ratio', () => {
  const drift = fc.array(fc.integer({ min: 100, max: 20_000 }), { minLength: 1, maxLength: 20 })
  fc.assert(
    fc.property(drift, rates => {
      const drifted = rates.map(rate => ({ ours: [rate * 0.9], theirs: [rate] }))
      expect(compareRates(drifted).ratios).toEqual(rates.map(() => 0.9))
    }),
  )
})

test('the interval misses the median about once in twenty runs', () => {
  for (let count = 6; count <= 200; count++) {
    expect(missing(count, intervalRank(count))).toBeLessThan(0.06)
    expect(missing(count, intervalRank(count) + 1)).toBeGreaterThan(0.04)
  }
})

test('too few rounds have no interval', () => {
  const { ratio_low, ratio_high } = compareRates(rounds(1, 1.1, 0.9, 1, 1))
  expect({ ratio_low, ratio_high }).toEqual({ ratio_low: null, ratio_high: null })
})

test.each([
  [0.9, 'pass'],
  [0.899, 'fail'],
])('a core case of %d against a floor of 0.9: %s', (ratio, verdict) => {
  const made = report(rounds(ratio))
  expect(made.verdict).toBe(verdict)
  expect(asCompareTable(made).trimEnd().split('\n').at(-1)).toMatch(new RegExp(`: ${verdict}$`))
})

/** How probable it is that fewer than `rank` of `count` fair coins show one side. */
function missing(count: number, rank: number): number {
  let probability = 0
  let term = 2 ** -count
  for (let heads = 0; heads < rank; heads++) {
    probability += term
    term *= (count - heads) / (heads + 1)
  }
  return 2 * probability
}
