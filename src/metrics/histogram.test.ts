import fc from 'fast-check'
import { Histogram, Registry } from 'prom-client'
import { expect, test } from 'vitest'
import { createHistogram, remember } from './histogram.ts'

const described = { name: 'duration_seconds', help: 'How long it took.' }
const buckets = fc
  .uniqueArray(fc.double({ noNaN: true, noDefaultInfinity: true }), { minLength: 1, maxLength: 8 })
  .map(bounds => bounds.map(bound => bound + 0).toSorted((a, b) => a - b))
const text = fc.string({ maxLength: 5 })

test('is written as prom-client writes its own', () =>
  fc.assert(
    fc.asyncProperty(
      buckets,
      fc.uniqueArray(fc.record({ route: text, status: text }), {
        selector: labels => JSON.stringify(labels),
        minLength: 1,
        maxLength: 4,
      }),
      fc.array(fc.tuple(fc.nat(3), fc.nat(7), fc.double({ noNaN: true, noDefaultInfinity: true }))),
      async (bounds, series, observations) => {
        const [ours, theirs] = [new Registry(), new Registry()]
        const histogram = createHistogram({ registry: ours, ...described, buckets: bounds })
        const reference = new Histogram({
          ...described,
          buckets: bounds,
          labelNames: ['route', 'status'],
          registers: [theirs],
        })
        const all = series.map(labels => {
          reference.zero(labels)
          return { labels, ...histogram(labels) }
        })
        for (const [which, bound, value] of observations) {
          const { labels, observe } = all[which % all.length] ?? { labels: {}, observe: () => {} }
          // A value that is a bound belongs below it.
          for (const observed of [value, bounds[bound % bounds.length] ?? 0]) {
            observe(observed)
            reference.observe(labels, observed)
          }
        }
        expect(await ours.metrics()).toBe(await theirs.metrics())
      },
    ),
  ))

test('a thing is made once for each key', () => {
  const made: (string | undefined)[] = []
  const of = remember((key: string | undefined) => ({ number: made.push(key) }))
  const things = ['a', undefined, 'a', 'b', undefined].map(of)
  expect(made).toEqual(['a', undefined, 'b'])
  expect(things.map(({ number }) => number)).toEqual([1, 2, 1, 3, 2])
  expect(things[2]).toBe(things[0])
})
