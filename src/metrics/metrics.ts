import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { CoalescerObserver } from '../coalescer.ts'
import type { ConnectionUse } from '../db/database.ts'
import type { KeystoneObserver } from '../keystone/observer.ts'
import { pathPattern } from '../path-pattern.ts'
import { createHistogram, remember } from './histogram.ts'
import { countKeystone, type KeystoneLog } from './keystone.ts'
import { collectProcessMetrics } from './process.ts'

/** A request that was answered. */
export type Answered = {
  readonly method: string
  /** The pattern of its route; none, if there is no such route. */
  readonly route: string | undefined
  readonly status: number
  readonly milliseconds: number
}

/**
 * What one app counts, and tells Prometheus: docs/guides/metrics.md. No label holds what a client
 * chose, so the number of series is bounded by the program.
 */
export type Metrics = {
  readonly contentType: string
  /** All metrics in Prometheus' text format. */
  render(): Promise<string>
  observeRequest(answered: Answered): void
  /** How old an event was when it was read for somebody who waited for it. */
  observeEventLag(seconds: number): void
  observerOf(kind: BatchKind): CoalescerObserver
  /** A request, or a connection, that came too often, was too large or too slow. */
  observeRefusal(reason: Refusal): void
  /** Shows when the certificate ends that is in use. */
  watchCertificate(end: () => Date): void
  /** Leases that servers reported. */
  observeLeaseReports(counts: { accepted: number; refused: number }): void
  /** What becomes of refusals on their way into the audit trail. */
  readonly refusalObserver: { onNoted(count: number): void; onDropped(count: number): void }
  /** Is asked for once, where there is a Keystone. */
  keystoneObserver(log: KeystoneLog): KeystoneObserver
  /** Ends what measures the process. */
  close(): void
}

const refusals = [
  'project',
  'user',
  'address',
  'failed_authentications',
  'url',
  'headers',
  'timeout',
  'malformed',
  'connections',
] as const
export type Refusal = (typeof refusals)[number]

export type BatchKind = 'allocate' | 'release' | 'take_mac' | 'release_mac'

export type MetricsOptions = {
  readonly connectionUse: () => ConnectionUse
  readonly newestEvent: () => Promise<number>
  /** How many addresses are withheld. */
  readonly countWithheld: () => Promise<number>
}

const prefix = 'melange_'

/** Makes the metrics of one app, in a registry of its own. */
export function createMetrics({
  connectionUse,
  newestEvent,
  countWithheld,
}: MetricsOptions): Metrics {
  const registry = new Registry()
  const endProcessMetrics = collectProcessMetrics(registry, prefix)
  const observeRequest = countRequests(registry)
  const observerOf = countBatches(registry)
  // In this order: a connection that reads the others is not to be counted as busy.
  showConnections(registry, connectionUse)
  showAsked(registry, newestEvent, {
    name: `${prefix}events_newest`,
    help: 'The number of the newest event in the database, 0 before the first.',
  })
  showAsked(registry, countWithheld, {
    name: `${prefix}addresses_withheld`,
    help: 'Addresses that are told to nobody, since a machine found them in use.',
  })
  const lag = new Histogram({
    name: `${prefix}event_lag_seconds`,
    help: 'Age of the oldest event of an answer to somebody who waited for events.',
    buckets: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
    registers: [registry],
  })
  return {
    contentType: registry.contentType,
    render: () => registry.metrics(),
    observeRequest,
    observeEventLag: seconds => lag.observe(seconds),
    observerOf,
    observeRefusal: countRefusals(registry),
    watchCertificate: end => showCertificate(registry, end),
    observeLeaseReports: countLeaseReports(registry),
    refusalObserver: observeTrail(registry),
    keystoneObserver: log => countKeystone(registry, prefix, log),
    close: endProcessMetrics,
  }
}

function countRequests(registry: Registry): Metrics['observeRequest'] {
  const durations = createHistogram({
    registry,
    name: `${prefix}http_request_duration_seconds`,
    help: 'How long requests took until they were answered.',
    // The last two are for those who wait for events.
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
  })
  // Methods are bounded too: Node's parser refuses those that it does not know.
  const seriesOf = remember((pattern: string | undefined) => {
    const route = pattern === undefined ? 'unknown' : pathPattern(pattern)
    return remember((method: string) =>
      remember((status: number) => durations({ method, route, status: String(status) })),
    )
  })
  return ({ method, route, status, milliseconds }) =>
    seriesOf(route)(method)(status).observe(milliseconds / 1000)
}

function countBatches(registry: Registry): Metrics['observerOf'] {
  const labelNames = ['kind'] as const
  const registers = [registry]
  const counts = new Map<BatchKind, () => number>()
  const sizes = new Histogram({
    name: `${prefix}coalescer_batch_size`,
    help: 'Requests that shared a transaction.',
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096],
    labelNames,
    registers,
  })
  new Gauge({
    name: `${prefix}coalescer_waiting`,
    help: 'Requests that wait for a batch.',
    labelNames,
    registers,
    collect() {
      for (const [kind, count] of counts) this.set({ kind }, count())
    },
  })
  const refused = new Counter({
    name: `${prefix}coalescer_refused_total`,
    help: 'Requests that were refused as `overloaded`, because too many waited.',
    labelNames,
    registers,
  })
  return kind => {
    sizes.zero({ kind })
    refused.inc({ kind }, 0)
    return {
      watchWaiting: count => counts.set(kind, count),
      onBatch: requests => sizes.observe({ kind }, requests),
      onRefused: () => refused.inc({ kind }),
    }
  }
}

function countRefusals(registry: Registry): Metrics['observeRefusal'] {
  const refused = new Counter({
    name: `${prefix}refused_total`,
    help: 'Requests that were too many, too large or too slow, and connections that were too many.',
    labelNames: ['reason'] as const,
    registers: [registry],
  })
  for (const reason of refusals) refused.inc({ reason }, 0)
  return reason => refused.inc({ reason })
}

function countLeaseReports(registry: Registry): Metrics['observeLeaseReports'] {
  const reports = new Counter({
    name: `${prefix}lease_reports_total`,
    help: 'Leases that servers reported: accepted, or refused for good.',
    labelNames: ['outcome'] as const,
    registers: [registry],
  })
  for (const outcome of ['accepted', 'refused']) reports.inc({ outcome }, 0)
  return counts => {
    for (const [outcome, count] of Object.entries(counts)) reports.inc({ outcome }, count)
  }
}

function showCertificate(registry: Registry, end: () => Date): void {
  new Gauge({
    name: `${prefix}tls_certificate_not_after_timestamp_seconds`,
    help: 'When the certificate ends that is in use, in seconds since 1970.',
    registers: [registry],
    collect() {
      this.set(end().getTime() / 1000)
    },
  })
}

function observeTrail(registry: Registry): Metrics['refusalObserver'] {
  const refusals = new Counter({
    name: `${prefix}audit_trail_refusals_total`,
    help: 'Requests that were refused: noted in the audit trail, or dropped on their way there.',
    labelNames: ['fate'] as const,
    registers: [registry],
  })
  for (const fate of ['noted', 'dropped']) refusals.inc({ fate }, 0)
  return {
    onNoted: count => refusals.inc({ fate: 'noted' }, count),
    onDropped: count => refusals.inc({ fate: 'dropped' }, count),
  }
}

function showConnections(registry: Registry, connectionUse: () => ConnectionUse): void {
  new Gauge({
    name: `${prefix}database_connections`,
    help: 'Connections to the database by state; those that are being made are busy.',
    labelNames: ['state'] as const,
    registers: [registry],
    collect() {
      const { idle, busy } = connectionUse()
      this.set({ state: 'idle' }, idle)
      this.set({ state: 'busy' }, busy)
    },
  })
  new Gauge({
    name: `${prefix}database_waiting`,
    help: 'What waits for a connection to the database.',
    registers: [registry],
    collect() {
      this.set(connectionUse().waiting)
    },
  })
}

const askedMilliseconds = 1000

/** A number that the database tells. It is left out if that is slow or away: then the rest is wanted most. */
function showAsked(
  registry: Registry,
  ask: () => Promise<number>,
  described: { readonly name: string; readonly help: string },
): void {
  let underWay: Promise<number | undefined> | undefined
  new Gauge({
    ...described,
    registers: [registry],
    async collect() {
      // One at a time, however many ask while the database is slow.
      underWay ??= ask()
        .catch(() => undefined)
        .finally(() => {
          underWay = undefined
        })
      const found = await within(askedMilliseconds, underWay)
      if (found === undefined) this.remove()
      else this.set(found)
    },
  })
}

/** What a promise comes to, or undefined when it takes too long. */
function within<T>(milliseconds: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>(resolve => {
    timer = setTimeout(resolve, milliseconds, undefined)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
