import type { LocalAddress } from './configuration.ts'
import type { Entry } from './hosts.ts'
import type { LeaseEvent } from './lease-events.ts'
import { isSameClient, type LeaseTable } from './lease-table.ts'
import { releasePacket, sendPackets } from './take-back.ts'

/** How long dnsmasq may take to forget leases, how often that is tried, and of how many. */
const bounds = { milliseconds: 1000, tries: 3, max: 200 }

export type EndLeasesOptions = {
  readonly table: LeaseTable
  readonly namespace: string | null
  readonly server_duid: string
  /** Own addresses of the dnsmasq. */
  readonly addresses: () => readonly LocalAddress[]
}

/** Makes dnsmasq forget leases; resolves to false if it still has some. */
export function createEndLeases({ table, namespace, server_duid, addresses }: EndLeasesOptions) {
  return async (leases: readonly LeaseEvent[]): Promise<boolean> => {
    const of = (version: 4 | 6) => addresses().find(one => one.version === version)?.text ?? null
    const to = { host4: of(4), host6: of(6), server_duid }
    const left = () =>
      leases.filter(lease => {
        const now = table.get(lease.address)
        return now !== null && isSameClient(now, lease)
      })
    for (let tries = 0; tries < bounds.tries; tries += 1) {
      const found = left()
      if (found.length === 0) return true
      if (found.length > bounds.max) return false
      const packets = found.flatMap(lease => releasePacket(lease, to) ?? [])
      if (packets.length < found.length) return false
      const ending = found.map(({ address }) => address)
      table.expectEnd(ending)
      await sendPackets(namespace, packets)
      if (await table.ended(ending, bounds.milliseconds)) return true
    }
    return left().length === 0
  }
}

/** Leases because of which a host that came again as another client gets none of its addresses. */
export const inTheWay = (table: LeaseTable, entry: Entry, client: string): LeaseEvent[] =>
  [...entry.addresses.keys()].flatMap(address => {
    const lease = table.get(address)
    return lease && lease.version === 6 && lease.duid !== client ? [lease] : []
  })
