import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import { collectProcessMetrics } from '../metrics/process.ts'
import type { LeaseLog } from './leases.ts'
import type { Status } from './status.ts'

export type DiscoveryMetrics = {
  /** A change is served, so long after the API made it. */
  observeChange(seconds: number): void
  observeWish(wish: 'allocate' | 'renew', result: 'done' | 'refused' | 'unavailable'): void
  close(): void
}

/** What the process counts beside its driver: docs/guides/dhcp.md. */
export function createMetrics(
  registry: Registry,
  { status, leases }: { readonly status: () => Status; readonly leases: LeaseLog },
): DiscoveryMetrics {
  const registers = [registry]
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name: `melange_dhcp_${name}`,
      help,
      registers,
      collect() {
        this.set(read())
      },
    })
  gauge('ready', 'Whether machines are answered: 1 or 0.', () => Number(status().is_ready))
  gauge('problems', 'How many things do not work; /healthz says which.', () => {
    return status().problems.length
  })
  gauge('networks', 'Networks that are served.', () => status().networks)
  gauge('hosts', 'Machines that are known on them.', () => status().hosts)
  gauge('api_connected', 'Whether the API answers: 1 or 0.', () => {
    return Number(status().api.is_connected)
  })
  gauge('api_answered_timestamp_seconds', 'When the API answered last.', () => {
    return status().api.answered_at ?? 0
  })
  gauge('leases_pending', 'Leases that the API does not know as they are now.', leases.pending)
  new Counter({
    name: 'melange_dhcp_leases_total',
    help: 'Leases by what became of them: recorded, reported to the API, refused by it.',
    labelNames: ['state'],
    registers,
    collect() {
      this.reset()
      for (const [state, count] of Object.entries(leases.counts)) this.inc({ state }, count)
    },
  })
  const changes = new Histogram({
    name: 'melange_dhcp_change_seconds',
    help: 'From a change in the API until machines are answered accordingly, by both clocks.',
    buckets: [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60],
    registers,
  })
  const wishes = new Counter({
    name: 'melange_dhcp_wishes_total',
    help: 'Addresses asked of the API for machines that nobody told of, and their renewals.',
    labelNames: ['wish', 'result'],
    registers,
  })
  const close = collectProcessMetrics(registry, 'melange_dhcp_')
  return {
    observeChange: seconds => changes.observe(Math.max(0, seconds)),
    observeWish: (wish, result) => wishes.inc({ wish, result }),
    close,
  }
}
