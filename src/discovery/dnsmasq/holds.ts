import type { Logger } from 'pino'
import type { Automatic } from '../driver.ts'
import type { Entry } from './hosts.ts'
import type { LeaseEvent } from './lease-events.ts'
import type { Subnet } from './subnets.ts'

export type HoldsOptions = {
  readonly automatic: Pick<Automatic, 'renew'>
  readonly subnets: ReadonlyMap<string, Subnet>
  readonly log: Logger
  readonly onRenewed: (network_id: string, host_id: string) => Promise<void>
}

/** Lets the hold behind a lease last as long as that. */
export function createRenewHold({ automatic, subnets, log, onRenewed }: HoldsOptions) {
  return async ({ network_id, host }: Entry, lease: LeaseEvent): Promise<void> => {
    const held = host.addresses.find(({ address }) => address === lease.address)
    const ends = lease.expires === null ? Number.POSITIVE_INFINITY : lease.expires * 1000
    if (!held?.expires_at || Date.parse(held.expires_at) >= ends) return
    const usual = subnets.get(held.block_id)?.unknown_clients?.lease_seconds ?? 0
    const left = Number.isFinite(ends) ? Math.ceil((ends - Date.now()) / 1000) : usual
    if (left <= 0) return
    const { allocation_id } = held
    const wish = { network_id, host_id: host.id, allocation_id, lease_seconds: left }
    const renewed = await automatic.renew(wish)
    if (typeof renewed === 'object') await onRenewed(network_id, host.id)
    else log.warn({ address: lease.address, renewed }, 'a hold was not renewed')
  }
}
