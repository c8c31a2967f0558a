import type { DriverContext, LeaseNews } from '../driver.ts'
import type { Entry } from './hosts.ts'
import type { LeaseEvent } from './lease-events.ts'

/** The leases that one dnsmasq has. */
export type LeaseTable = {
  /** Takes over what dnsmasq says; resolves when it is kept. */
  take(events: readonly LeaseEvent[]): Promise<void>
  /** A client has found that its address is in use; until when it is given to nobody. */
  decline(address: string): number
  /** Until when addresses are withheld that were declined. */
  readonly declined: ReadonlyMap<string, number>
  get(address: string): LeaseEvent | null
  all(): Iterable<LeaseEvent>
  /** Leases of addresses that somebody has who may not, among those of some addresses. */
  wrong(addresses: Iterable<string>): LeaseEvent[]
  /** They are about to end because of us. */
  expectEnd(addresses: Iterable<string>): void
  /** dnsmasq begins, with those that are right. */
  restart(): LeaseEvent[]
  /** Resolves when there are no leases of these, or after a time; true if there are none. */
  ended(addresses: readonly string[], milliseconds: number): Promise<boolean>
}

export type LeaseTableOptions = Pick<DriverContext, 'leases'> & {
  readonly ownerOf: (address: string) => Entry | null
  /** A client has a lease of an address that it may have. */
  readonly onLease: (entry: Entry, lease: LeaseEvent) => void
  /** Somebody has a lease of an address that is not its own. */
  readonly onWrong: (lease: LeaseEvent) => void
}

/** As long as dnsmasq itself gives a declined address to nobody. */
const declinedMilliseconds = 600_000

export function createLeaseTable(options: LeaseTableOptions): LeaseTable {
  const { leases, ownerOf, onLease, onWrong } = options
  const table = new Map<string, LeaseEvent>()
  const declined = new Map<string, number>()
  const expected = new Set<string>()
  const waiting = new Set<() => void>()

  function takeOne(event: LeaseEvent): Promise<void> | undefined {
    const { address } = event
    const before = table.get(address)
    if (event.action === 'del') return end(event, before)
    expected.delete(address)
    const lease = before && isSameClient(before, event) ? remember(before, event) : event
    table.set(address, lease)
    const owner = ownerOf(address)
    if (!owner || !mayHave(owner, lease)) {
      onWrong(lease)
      return
    }
    onLease(owner, lease)
    // When dnsmasq reads all again it tells of all its leases.
    if (event.action === 'old' && before?.expires === event.expires) return
    return leases.record(newsOf(lease, owner, 'bound'))
  }

  function end(event: LeaseEvent, before: LeaseEvent | undefined): Promise<void> | undefined {
    const { address, expires } = event
    table.delete(address)
    for (const wake of waiting) wake()
    const isOurs = expected.delete(address)
    const isOver = expires !== null && expires * 1000 <= Date.now()
    if (isOurs || isOver || (declined.get(address) ?? 0) > Date.now()) return
    const lease = before && isSameClient(before, event) ? remember(before, event) : event
    const owner = ownerOf(address)
    if (owner && mayHave(owner, lease)) return leases.record(newsOf(lease, owner, 'released'))
    return
  }

  return {
    async take(events) {
      await Promise.all(events.map(takeOne))
    },
    declined,
    decline(address) {
      const now = Date.now()
      for (const [one, until] of declined) if (until <= now) declined.delete(one)
      declined.set(address, now + declinedMilliseconds)
      const owner = ownerOf(address)
      const lease = table.get(address)
      if (owner) void leases.record(newsOf(lease ?? leaseFor(owner, address), owner, 'declined'))
      return now + declinedMilliseconds
    },
    get: address => table.get(address) ?? null,
    all: () => table.values(),
    wrong(addresses) {
      return [...addresses].flatMap(address => {
        const lease = table.get(address)
        const owner = lease && ownerOf(address)
        return !lease || (owner && mayHave(owner, lease)) ? [] : [lease]
      })
    },
    expectEnd(addresses) {
      for (const address of addresses) expected.add(address)
    },
    restart() {
      const now = Date.now() / 1000
      for (const [address, lease] of table) {
        const owner = ownerOf(address)
        const isOver = lease.expires !== null && lease.expires <= now
        if (isOver || !owner || !mayHave(owner, lease)) table.delete(address)
      }
      for (const wake of waiting) wake()
      return [...table.values()]
    },
    ended(addresses, milliseconds) {
      return new Promise(resolve => {
        const timer = setTimeout(() => finish(false), milliseconds)
        function finish(hasEnded: boolean) {
          clearTimeout(timer)
          waiting.delete(look)
          resolve(hasEnded)
        }
        function look() {
          if (addresses.every(address => !table.has(address))) finish(true)
        }
        waiting.add(look)
        look()
      })
    },
  }
}

export const isSameClient = (a: LeaseEvent, b: LeaseEvent) =>
  a.version === 4
    ? a.mac_address === b.mac_address || (a.client_id !== null && a.client_id === b.client_id)
    : a.duid === b.duid && a.iaid === b.iaid

/** What dnsmasq does not say each time. */
const remember = (before: LeaseEvent, event: LeaseEvent): LeaseEvent => ({
  ...event,
  mac_address: event.mac_address ?? before.mac_address,
  client_id: event.client_id ?? before.client_id,
  ...(event.isStripped && { host_name: before.host_name, relay: before.relay }),
})

/** Whether an address is of the host that a client is. */
export function mayHave({ host }: Entry, lease: LeaseEvent): boolean {
  const { mac_address, client_id, duid } = lease
  if (mac_address !== null && mac_address === host.mac_address) return true
  if (client_id !== null && client_id === host.client_id) return true
  if (duid !== null && duid === host.duid) return true
  // dnsmasq does not know the MAC of each DUID after it was started again.
  return lease.version === 6 && mac_address === null && host.duid === null
}

/** A lease of which nothing is known but whose the address is. */
const leaseFor = ({ host }: Entry, address: string): LeaseEvent => ({
  action: 'old',
  version: address.includes(':') ? 6 : 4,
  address,
  mac_address: host.mac_address,
  client_id: host.client_id,
  duid: host.duid,
  iaid: host.iaid,
  host_name: null,
  relay: null,
  expires: null,
  at: null,
  isStripped: true,
})

function newsOf(lease: LeaseEvent, owner: Entry, state: LeaseNews['state']): LeaseNews {
  const { address, mac_address, client_id, duid, iaid, host_name, relay, expires } = lease
  const now = Date.now()
  return {
    allocation_id: owner.addresses.get(address)?.allocation_id ?? '',
    network_id: owner.network_id,
    address,
    mac_address,
    client_id,
    duid,
    iaid,
    host_name,
    relay,
    state,
    at: state === 'bound' ? Math.min((lease.at ?? now / 1000) * 1000, now) : now,
    ends_at: state === 'bound' ? (expires === null ? null : expires * 1000) : now,
  }
}
