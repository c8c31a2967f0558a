import type { Told } from './told.ts'

/** A subnet of a link, and what those in it are told who are no hosts. */
export type Subnet = {
  readonly id: string
  readonly first: number
  readonly length: number
  readonly told: Told
}

/** An address that a host is to have. Times are in milliseconds since 1970. */
export type Reservation = {
  readonly allocation_id: string
  readonly address: number
  readonly subnet: Subnet
  /** With what is set on the interface. */
  readonly told: Told
  /** When the hold behind it lapses, if it is one: what was allocated because a client came. */
  readonly expires_at: number | null
  /**
   * Until when it is not given, because a client found somebody else to use it (RFC 2131 §4.3.3).
   */
  readonly declined_until: number | null
}

/** A known client on a link: an interface, or a machine for which addresses were allocated. */
export type Host = {
  readonly id: string
  /** A MAC as 48 bits, and a client identifier (option 61) as hex; it is known by either. */
  readonly mac: number | null
  readonly client_id: string | null
  /** All in subnets of the link; the first is given to who asks for none of them. */
  readonly reservations: readonly Reservation[]
}

/** A network, and how it is served. */
export type Link = {
  readonly id: string
  readonly subnets: readonly Subnet[]
  /**
   * By which circuits of which relays (RFC 3046 §3.1) its clients come: `giaddr`, circuit id as
   * hex.
   */
  readonly circuits: readonly { readonly giaddr: number; readonly circuit_id: string }[]
  /** Whether clients that ask for wrong addresses are told so, or left to other servers. */
  readonly is_authoritative: boolean
  /** Whether unknown clients get addresses, and for how long. */
  readonly automatic: { readonly lease_seconds: number } | null
  readonly lease_seconds: number
  /** Whether who asks for it gets an address with two messages instead of four (RFC 4039). */
  readonly rapid_commit: boolean
  /** The largest datagram with its IP header that reaches its clients and relays. */
  readonly mtu: number
}

/** What the engine looks up. A link is found by its addresses only if no other has them, too. */
export type Bindings = {
  link(id: string): Link | null
  linkOfAddress(address: number): Link | null
  linkOfCircuit(giaddr: number, circuit: Uint8Array): Link | null
  /** By the MAC; by the identifier where the MAC is unknown. */
  hostOf(link: Link, mac: number | null, client_id: Uint8Array | undefined): Host | null
}

/** Bindings in memory, of which links and hosts are replaced as they change. */
export type BindingStore = Bindings & {
  putLink(link: Link): void
  /** Also its hosts. */
  dropLink(id: string): void
  /** Nothing is put on a link that is not there. */
  putHost(link_id: string, host: Host): void
  dropHost(link_id: string, id: string): void
}

type Entry = {
  link: Link
  readonly hosts: Map<string, Host>
  readonly byMac: Map<number, Host>
  readonly byClientId: Map<string, Host>
}

export function createBindings(): BindingStore {
  const entries = new Map<string, Entry>()
  const places = createPrefixIndex()
  const circuits = new Map<string, string>()
  const circuitKey = (giaddr: number, circuit_id: string) => `${giaddr} ${circuit_id}`

  function forgetPlaces({ id, subnets, circuits: own }: Link) {
    for (const subnet of subnets) places.remove(subnet, id)
    for (const { giaddr, circuit_id } of own) {
      const key = circuitKey(giaddr, circuit_id)
      if (circuits.get(key) === id) circuits.delete(key)
    }
  }

  function forgetHost(entry: Entry, id: string) {
    const host = entry.hosts.get(id)
    if (!host) return
    entry.hosts.delete(id)
    const { mac, client_id } = host
    if (mac !== null && entry.byMac.get(mac) === host) entry.byMac.delete(mac)
    if (client_id !== null && entry.byClientId.get(client_id) === host) {
      entry.byClientId.delete(client_id)
    }
  }

  return {
    link: id => entries.get(id)?.link ?? null,
    linkOfAddress(address) {
      const id = places.find(address)
      return id === null ? null : (entries.get(id)?.link ?? null)
    },
    linkOfCircuit(giaddr, circuit) {
      if (circuits.size === 0) return null
      const id = circuits.get(circuitKey(giaddr, hexOf(circuit)))
      return id === undefined ? null : (entries.get(id)?.link ?? null)
    },
    hostOf({ id }, mac, client_id) {
      const entry = entries.get(id)
      if (!entry) return null
      const found = mac === null ? undefined : entry.byMac.get(mac)
      if (found || !client_id || entry.byClientId.size === 0) return found ?? null
      return entry.byClientId.get(hexOf(client_id)) ?? null
    },
    putLink(link) {
      const entry = entries.get(link.id)
      if (entry) {
        forgetPlaces(entry.link)
        entry.link = link
      } else {
        entries.set(link.id, {
          link,
          hosts: new Map(),
          byMac: new Map(),
          byClientId: new Map(),
        })
      }
      for (const subnet of link.subnets) places.add(subnet, link.id)
      for (const { giaddr, circuit_id } of link.circuits) {
        circuits.set(circuitKey(giaddr, circuit_id), link.id)
      }
    },
    dropLink(id) {
      const entry = entries.get(id)
      if (entry) forgetPlaces(entry.link)
      entries.delete(id)
    },
    putHost(link_id, host) {
      const entry = entries.get(link_id)
      if (!entry) return
      forgetHost(entry, host.id)
      entry.hosts.set(host.id, host)
      if (host.mac !== null) entry.byMac.set(host.mac, host)
      if (host.client_id !== null) entry.byClientId.set(host.client_id, host)
    },
    dropHost(link_id, id) {
      const entry = entries.get(link_id)
      if (entry) forgetHost(entry, id)
    },
  }
}

const hexOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')

const firstOf = (address: number, length: number): number =>
  length === 0 ? 0 : (address & (-1 << (32 - length))) >>> 0

/** Whether an address is in a subnet. */
export const subnetHolds = ({ first, length }: Subnet, address: number): boolean =>
  firstOf(address, length) === first

/** The subnet of a link that an address is in. */
export const subnetNear = ({ subnets }: Link, address: number): Subnet | null =>
  subnets.find(subnet => subnetHolds(subnet, address)) ?? null

/** The first that is in the subnet of an address. */
export const reservationNear = (
  reservations: readonly Reservation[],
  address: number,
): Reservation | undefined => reservations.find(({ subnet }) => subnetHolds(subnet, address))

/** The ids of what has the longest prefix that holds an address. */
function createPrefixIndex() {
  /** By length, then by first address; `lengths` are those that there are, the longest first. */
  const byLength = new Map<number, Map<number, string[]>>()
  let lengths: number[] = []
  const sortLengths = () => {
    lengths = [...byLength.keys()].toSorted((a, b) => b - a)
  }
  return {
    add({ first, length }: Subnet, id: string) {
      const byFirst = byLength.get(length) ?? new Map<number, string[]>()
      byLength.set(length, byFirst.set(first, [...(byFirst.get(first) ?? []), id]))
      sortLengths()
    },
    remove({ first, length }: Subnet, id: string) {
      const byFirst = byLength.get(length)
      const left = (byFirst?.get(first) ?? []).filter(one => one !== id)
      if (left.length > 0) byFirst?.set(first, left)
      else byFirst?.delete(first)
      if (byFirst?.size === 0) byLength.delete(length)
      sortLengths()
    },
    /** Null also where several have it. */
    find(address: number): string | null {
      for (const length of lengths) {
        const ids = byLength.get(length)?.get(firstOf(address, length))
        if (ids) return ids.length === 1 ? (ids[0] ?? null) : null
      }
      return null
    },
  }
}
