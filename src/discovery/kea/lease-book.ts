import type { ClientNames } from '../../dhcp/client-names.ts'
import type { LeaseRow } from './lease-file.ts'

/** A lease that Kea has now. */
export type Held = Pick<
  LeaseRow,
  'mac_address' | 'client_id' | 'duid' | 'iaid' | 'prefix_length' | 'ends_at' | 'subnet_id'
> & { readonly is_declined: boolean }

/** What became of a lease with a row of Kea's file. */
export type Turn =
  | { readonly type: 'bound' }
  | { readonly type: 'declined' | 'released'; readonly before: Held }
  | { readonly type: 'nothing' }

/** The leases of one Kea, as its file says. */
export type LeaseBook = {
  /** Takes over a row. `now` is in milliseconds since 1970. */
  take(row: LeaseRow, now: number): Turn
  find(subnet_id: number, address: string): Held | null
  /** Notes that it is Melange that ends this lease: what follows is not of the machine. */
  end(subnet_id: number, address: string): void
  entries(): Iterable<readonly [string, Held]>
}

const keyOf = (subnet_id: number, address: string) => `${subnet_id} ${address}`

export function createLeaseBook(): LeaseBook {
  const held = new Map<string, Held>()
  return {
    take(row, now) {
      const key = keyOf(row.subnet_id, row.address)
      const before = held.get(key)
      if (row.state === 'gone') {
        held.delete(key)
        // What has expired is reclaimed by Kea, in which the machine has no part.
        const isEarly = before && !before.is_declined && (before.ends_at ?? now + 1) > now
        return isEarly ? { type: 'released', before } : { type: 'nothing' }
      }
      const is_declined = row.state === 'declined'
      const { prefix_length, ends_at, subnet_id } = row
      // With a declined lease Kea forgets who had it.
      const { mac_address, client_id, duid, iaid } = is_declined && before ? before : row
      const names = { mac_address, client_id, duid, iaid }
      held.set(key, { ...names, prefix_length, ends_at, subnet_id, is_declined })
      if (!is_declined) return { type: 'bound' }
      return before && !before.is_declined ? { type: 'declined', before } : { type: 'nothing' }
    },
    find: (subnet_id, address) => held.get(keyOf(subnet_id, address)) ?? null,
    end: (subnet_id, address) => void held.delete(keyOf(subnet_id, address)),
    entries: () => held,
  }
}

type Names = Pick<ClientNames, 'mac_address' | 'client_id' | 'duid'>

/** Whether a lease is that of a host, by any of its names. */
export function isOf(held: Names, host: Names): boolean {
  const same = (a: string | null, b: string | null) => a !== null && a === b
  return (
    same(held.mac_address, host.mac_address) ||
    same(held.client_id, host.client_id) ||
    same(held.duid, host.duid)
  )
}
