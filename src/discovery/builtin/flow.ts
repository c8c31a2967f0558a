import type { Logger } from 'pino'
import type { Automatic, Leases } from '../driver.ts'
import type { Metrics } from './metrics.ts'
import type { Wishes } from './wishes.ts'

// What DHCPv4 and DHCPv6 have in common on the way from a packet to its answer.

/** Who sent a packet. */
export type Source = { readonly address: string; readonly port: number }

export type FlowOptions<Bindings, Facts> = {
  readonly bindings: Bindings
  readonly facts: Facts
  readonly leases: Leases
  readonly automatic: Automatic
  readonly wishes: Wishes
  readonly metrics: Metrics
  readonly log: Logger
  readonly durable_leases: boolean
}

/** So many answers wait for the disk at most: a disk that is away costs no memory without end. */
const unwrittenMax = 20_000

/** Sends answers when their leases are written; false if too many wait. */
export type SendWritten = (written: Promise<unknown>, send: () => void) => boolean

export function createSendWritten(log: Logger): SendWritten {
  let unwritten = 0
  return (written, send) => {
    if (unwritten >= unwrittenMax) return false
    unwritten += 1
    written
      .finally(() => {
        unwritten -= 1
      })
      .then(send)
      .catch(error => log.error({ err: error }, 'a client was not answered'))
    return true
  }
}
