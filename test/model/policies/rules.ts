import fc from 'fast-check'
import type { Rules, Words } from './house.ts'

// Rules at random, about the tiny blocks of a run.

const strategies = ['sequential', 'random', 'least_recently_used'] as const
export const strategy = fc.constantFrom(...strategies)
export const purposes = ['a', 'b'] as const

/** A member that is left out once in `freq` + 1 times. */
const maybe = <T>(arbitrary: fc.Arbitrary<T>, freq = 1) =>
  fc.option(arbitrary, { nil: undefined, freq })

const offset = fc.integer({ min: -9, max: 9 })
const wordsOf = (addresses: readonly string[]): fc.Arbitrary<Words> =>
  fc.record(
    {
      offsets: maybe(fc.array(fc.record({ from: offset, to: offset }), { maxLength: 2 })),
      first: maybe(fc.integer({ min: 0, max: 5 })),
      last: maybe(fc.integer({ min: 0, max: 5 })),
      addresses: maybe(fc.array(fc.constantFrom(...addresses), { maxLength: 3 })),
    },
    { noNullPrototype: true },
  )

/** All but some addresses about the border of two octets, in a block of 512. */
const border: Words = {
  offsets: [
    { from: 0, to: 249 },
    { from: 262, to: -1 },
  ],
}

/** Octets: those at the ends of a /24 more often, and seldom nearly all of them. */
const octets = fc.oneof(
  { weight: 3, arbitrary: fc.uniqueArray(fc.constantFrom(0, 1, 254, 255), { maxLength: 4 }) },
  { weight: 4, arbitrary: fc.uniqueArray(fc.integer({ min: 0, max: 70 }), { maxLength: 12 }) },
  { weight: 2, arbitrary: fc.uniqueArray(fc.integer({ min: 186, max: 255 }), { maxLength: 12 }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(3, 17, 200, 255).map(kept => {
      return Array.from({ length: 256 }, (_, octet) => octet).filter(octet => octet !== kept)
    }),
  },
)

const lengths = fc.record(
  { min: maybe(fc.integer({ min: 25, max: 28 })), max: maybe(fc.integer({ min: 28, max: 30 })) },
  { noNullPrototype: true },
)
const deepLengths = fc.record(
  {
    min: maybe(fc.integer({ min: 120, max: 124 })),
    max: maybe(fc.integer({ min: 124, max: 127 })),
  },
  { noNullPrototype: true },
)

/** A member that is left out is not there: JSON has no undefined, and the API refuses null. */
const compact = <T extends object>(value: T): T => JSON.parse(JSON.stringify(value))

const isNothing = (named: object) => Object.values(named).every(word => word === undefined)

export const rulesOf = (addresses: readonly string[]): fc.Arbitrary<Rules> => {
  const words = wordsOf(addresses)
  const exclusions = fc
    .record({
      words: fc.oneof(
        { weight: 8, arbitrary: words },
        { weight: 4, arbitrary: fc.constant<Words>({}) },
        { weight: 1, arbitrary: fc.constant(border) },
      ),
      last_octets: maybe(octets, 2),
    })
    .map(({ words: named, last_octets }) => ({ ...named, last_octets }))
  // A purpose has to name some.
  const some = words.map(named => (isNothing(named) ? { first: 1 } : named))
  const kept = fc.uniqueArray(
    fc
      .record({ purpose: fc.constantFrom(...purposes), words: some })
      .map(({ purpose, words: named }) => ({ purpose, ...named })),
    { maxLength: 2, selector: ({ purpose }) => purpose },
  )
  return fc
    .record({
      exclusions: maybe(exclusions, 3),
      purposes: maybe(kept, 2),
      strategy: maybe(strategy),
      quarantine_seconds: maybe(fc.constantFrom(0, 864_000)),
      quarantine_reuse: maybe(fc.constantFrom('never' as const, 'when_full' as const)),
      child_prefix_lengths: fc.oneof(
        { weight: 3, arbitrary: fc.constant(undefined) },
        { weight: 1, arbitrary: fc.record({ ipv4: maybe(lengths), ipv6: maybe(deepLengths) }) },
      ),
      subnet_selection: maybe(fc.constantFrom('fill_first' as const, 'spread' as const)),
    })
    .map(compact) as fc.Arbitrary<Rules>
}
