import { Counter, Gauge, type Registry } from 'prom-client'
import { createHistogram, type Series } from '../../metrics/histogram.ts'
import type { Wishes } from './wishes.ts'

/** What the server counts. Labels are of sets that the program bounds. */
export type Metrics = {
  /** A packet came, and this came of it: `answered`, or why nothing did. */
  packet(version: 4 | 6, type: string, result: string): void
  /** How long an answer took. */
  readonly seconds: Readonly<Record<4 | 6, Series>>
}

export function createMetrics({
  registry,
  wishes,
  drops,
}: {
  readonly registry: Registry
  readonly wishes: Wishes
  /** How many packets the sockets had no room for. */
  readonly drops: () => number
}): Metrics {
  // To count costs nothing here: what prom-client does for labels it does when it is read.
  const counts = new Map<string, { labels: Record<string, string>; count: number }>()
  const packets = new Counter({
    name: 'melange_dhcp_packets_total',
    help: 'Packets that came, by what they are and what came of them.',
    labelNames: ['version', 'type', 'result'] as const,
    registers: [registry],
    collect() {
      this.reset()
      for (const { labels, count } of counts.values()) this.inc(labels, count)
    },
  })
  packets.reset()
  new Gauge({
    name: 'melange_dhcp_waiting',
    help: 'Clients that wait for the API to allocate or renew an address.',
    labelNames: ['kind'] as const,
    registers: [registry],
    collect() {
      this.set({ kind: 'allocate' }, wishes.waiting('allocate'))
      this.set({ kind: 'renew' }, wishes.waiting('renew'))
    },
  })
  new Gauge({
    name: 'melange_dhcp_socket_drops',
    help: 'Packets for which the sockets in the own network namespace had no room.',
    registers: [registry],
    collect() {
      this.set(drops())
    },
  })
  const duration = createHistogram({
    registry,
    name: 'melange_dhcp_answer_seconds',
    help: 'How long it took from a packet to its answer.',
    buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 5],
  })
  return {
    packet(version, type, result) {
      const key = `${version} ${type} ${result}`
      const found = counts.get(key)
      if (found) found.count += 1
      else {
        const labels = { version: `${version}`, type, result: result.replaceAll(' ', '_') }
        counts.set(key, { labels, count: 1 })
      }
    },
    seconds: { 4: duration({ version: '4' }), 6: duration({ version: '6' }) },
  }
}
