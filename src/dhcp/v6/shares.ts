import type { Association } from './associations.ts'
import type { Host, Lease } from './bindings.ts'
import { optionCodes } from './codec.ts'

/** Whether a lease may be told to its host at a time: for a second at least. */
export const isTold = ({ endsAt, withheldUntil }: Lease, now: number): boolean =>
  (endsAt === null || endsAt >= now + 1) && withheldUntil <= now

/** What a host has of the kind that an association asks for. Temporary addresses are given to none. */
export function leasesOf(host: Host, { code }: Association): readonly Lease[] {
  if (code === optionCodes.iaNa) return host.addresses
  return code === optionCodes.iaPd ? host.prefixes : []
}

/**
 * Which leases each association of a message gets, without memory of earlier messages, so that all
 * servers say the same. An association keeps what it names, as the client had it before; one that is
 * then left without gets the next that is free; and the first of a host and kind gets all the rest:
 * mostly there is one, so that it gets everything. They stay in the order that the host has them in.
 *
 * `hosts` are those of the associations, in their order; RFC 8415 §12 leaves the choice to servers.
 */
export function shareLeases(
  associations: readonly Association[],
  hosts: readonly (Host | undefined)[],
  now: number,
): Lease[][] {
  const owners = new Map<Lease, number>()
  const hasAny = new Set<number>()
  const give = (isWanted: (index: number, lease: Lease) => boolean) => {
    for (const [index, association] of associations.entries()) {
      const host = hosts[index]
      if (!host) continue
      for (const lease of leasesOf(host, association)) {
        if (owners.has(lease) || !isTold(lease, now) || !isWanted(index, lease)) continue
        owners.set(lease, index)
        hasAny.add(index)
      }
    }
  }
  if (associations.length > 1) {
    give((index, { key }) => associations[index]?.named.includes(key) ?? false)
    give(index => !hasAny.has(index))
  }
  give(() => true)
  return associations.map((association, index) => {
    const host = hosts[index]
    return host ? leasesOf(host, association).filter(lease => owners.get(lease) === index) : []
  })
}
