import type { Histogram, Registry } from 'prom-client'

/** One combination of labels. */
export type Series = { observe(value: number): void }

type Labels = Readonly<Record<string, string>>

/**
 * A histogram for what happens with every request: to observe takes some 30 ns. That of prom-client
 * takes 500, because it hashes the labels each time, even those of a child. It writes the same text.
 */
export function createHistogram({
  registry,
  name,
  help,
  buckets,
}: {
  readonly registry: Registry
  readonly name: string
  readonly help: string
  readonly buckets: readonly number[]
}): (labels: Labels) => Series {
  const all: (() => object[])[] = []
  const get = async () => ({ name, help, type: 'histogram', values: all.flatMap(read => read()) })
  // These two are all that a registry asks of a metric when it writes its text.
  registry.registerMetric({ name, get } as unknown as Histogram)

  return labels => {
    const counts = new Float64Array(buckets.length + 1)
    let sum = 0
    all.push(() => {
      let count = 0
      const upTo = [...buckets, '+Inf'].map((le, index) => {
        count += counts[index] ?? 0
        return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: count }
      })
      return [
        ...upTo,
        { metricName: `${name}_sum`, labels, value: sum },
        { metricName: `${name}_count`, labels, value: count },
      ]
    })
    return {
      observe(value) {
        let index = 0
        while (value > (buckets[index] ?? Number.POSITIVE_INFINITY)) index++
        counts[index] = (counts[index] ?? 0) + 1
        sum += value
      },
    }
  }
}

/** A function that makes a thing for a key once. Keys come from a set that is bounded. */
export function remember<K, V>(make: (key: K) => V): (key: K) => V {
  const known = new Map<K, V>()
  return key => {
    const found = known.get(key)
    if (found !== undefined) return found
    const made = make(key)
    known.set(key, made)
    return made
  }
}
