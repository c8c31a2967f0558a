import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { KeystoneObserver, Lookup } from '../keystone/observer.ts'

/** Told of what the log has to say. */
export type KeystoneLog = Pick<KeystoneObserver, 'onAway' | 'onBack'>

const lookups: readonly Lookup[] = [
  'hit',
  'miss',
  'negative_hit',
  'stale',
  'malformed',
  'overloaded',
]
const outcomes = { validation: ['valid', 'invalid', 'unavailable'], login: ['success', 'failure'] }

/** Counts what happens between Melange and Keystone, and passes on when it goes and comes back. */
export function countKeystone(
  registry: Registry,
  prefix: string,
  log: KeystoneLog,
): KeystoneObserver {
  const registers = [registry]
  const labelNames = ['outcome'] as const
  const found = new Counter({
    name: `${prefix}keystone_lookups_total`,
    help: 'Tokens that were looked up, by where the answer came from.',
    labelNames,
    registers,
  })
  for (const outcome of lookups) found.inc({ outcome }, 0)
  const durations = (what: 'validation' | 'login', help: string) => {
    const histogram = new Histogram({
      name: `${prefix}keystone_${what}_duration_seconds`,
      help,
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      labelNames,
      registers,
    })
    for (const outcome of outcomes[what]) histogram.zero({ outcome })
    return histogram
  }
  const validations = durations('validation', 'How long Keystone took to tell of a token.')
  const logins = durations('login', "How long Keystone took for a token of Melange's own.")
  const away = new Gauge({
    name: `${prefix}keystone_away`,
    help: 'Whether Keystone gives no answers: 1 if so.',
    registers,
  })
  away.set(0)

  return {
    onLookup: outcome => found.inc({ outcome }),
    onValidation: (outcome, seconds) => validations.observe({ outcome }, seconds),
    onLogin: (outcome, seconds) => logins.observe({ outcome }, seconds),
    onAway(reason) {
      away.set(1)
      log.onAway(reason)
    },
    onBack() {
      away.set(0)
      log.onBack()
    },
    watchValidations(counts) {
      new Gauge({
        name: `${prefix}keystone_validations`,
        help: 'Tokens of which Keystone is asked now, and those that wait for it.',
        labelNames: ['state'] as const,
        registers,
        collect() {
          const { under_way, waiting } = counts()
          this.set({ state: 'under_way' }, under_way)
          this.set({ state: 'waiting' }, waiting)
        },
      })
    },
  }
}
