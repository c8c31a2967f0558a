import type { Told } from './told.ts'

/** A subnet of a link, and what those in it are told who are no hosts. */
export type Subnet = {
  readonly id: string
  readonly first: number
  readonly length: number
  readonly told: Told
  /** Whether unknown clients get addresses there, and for how long. */
  readonly automatic: { readonly lease_seconds: number } | null
}

/** An address that a host is to have. Times are in milliseconds since 1970. */
export type Reservation = {
  readonly allocation_id: string
  readonly address: number
  /** The address as text. */
  readonly text: string
  readonly subnet: Subnet
  /** With what is set on the interface. */
  readonly told: Told
  /** When the hold behind it lapses, if it is one. */
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
  /** Whether its addresses were allocated because it came: they go on and end with its leases. */
  readonly is_automatic: boolean
  /** Option 12, where the options have none. */
  readonly host_name: string | null
  /** All in subnets of the link; the first is given to who asks for none of them. */
  readonly reservations: readonly Reservation[]
}

/** A network, and how it is served. */
export type Link = {
  readonly id: string
  readonly subnets: readonly Subnet[]
  /**
   * By which relays its clients come: `giaddr`, and the circuit id (RFC 3046 §3.1) as hex, or null
   * for all that are not named. Without any it is found by its subnets.
   */
  readonly relays: readonly { readonly giaddr: number; readonly circuit_id: string | null }[]
  /** Whether clients that ask for wrong addresses are told so, or left to other servers. */
  readonly is_authoritative: boolean
  readonly lease_seconds: number
  /** Whether who asks for it gets an address with two messages instead of four (RFC 4039). */
  readonly rapid_commit: boolean
  /** The largest datagram with its IP header that reaches its clients and relays. */
  readonly mtu: number
}

/** Where a relay says that a client is. */
export type Relayed = {
  readonly giaddr: number
  readonly circuit: Uint8Array | undefined
  /** An address of the subnet: its own, or that which it selects. */
  readonly address: number
}

/** What the engine looks up. A link is found by its addresses only if no other has them, too. */
export type Bindings = {
  link(id: string): Link | null
  linkOfAddress(address: number): Link | null
  linkOfRelay(relayed: Relayed): Link | null
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
  /** Of links that name no relays. */
  const placesOfAnyRelay = createPrefixIndex()
  /** Ids of links, by what `relayKey` makes. */
  const byRelay = new Map<string, Set<string>>()

  function rememberPlaces({ id, subnets, relays }: Link) {
    for (const subnet of subnets) {
      places.add(subnet, id)
      if (relays.length === 0) placesOfAnyRelay.add(subnet, id)
    }
    for (const relay of relays) {
      const key = relayKey(relay.giaddr, relay.circuit_id)
      byRelay.set(key, (byRelay.get(key) ?? new Set()).add(id))
    }
  }

  function forgetPlaces({ id, subnets, relays }: Link) {
    for (const subnet of subnets) {
      places.remove(subnet, id)
      if (relays.length === 0) placesOfAnyRelay.remove(subnet, id)
    }
    for (const relay of relays) {
      const key = relayKey(relay.giaddr, relay.circuit_id)
      const ids = byRelay.get(key)
      ids?.delete(id)
      if (ids?.size === 0) byRelay.delete(key)
    }
  }

  const linkOf = (id: string | null) => (id === null ? null : (entries.get(id)?.link ?? null))

  /** The only one, or the only one that has the address. */
  function onlyOf(ids: ReadonlySet<string>, address: number): Link | null {
    const links = [...ids].flatMap(id => linkOf(id) ?? [])
    const near = links.length === 1 ? links : links.filter(link => subnetNear(link, address))
    return near.length === 1 ? (near[0] ?? null) : null
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
    link: linkOf,
    linkOfAddress: address => linkOf(places.find(address)),
    linkOfRelay({ giaddr, circuit, address }) {
      if (byRelay.size > 0) {
        const ofCircuit = circuit && byRelay.get(relayKey(giaddr, hexOf(circuit)))
        const named = ofCircuit ?? byRelay.get(relayKey(giaddr, null))
        if (named) return onlyOf(named, address)
      }
      return linkOf(placesOfAnyRelay.find(address))
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
      rememberPlaces(link)
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
      if (host.mac !== null) claim(entry.byMac, host.mac, host)
      if (host.client_id !== null) claim(entry.byClientId, host.client_id, host)
    },
    dropHost(link_id, id) {
      const entry = entries.get(link_id)
      if (entry) forgetHost(entry, id)
    },
  }
}

const relayKey = (giaddr: number, circuit_id: string | null) =>
  circuit_id === null ? String(giaddr) : `${giaddr} ${circuit_id}`

/** Whom somebody told of comes before who came by itself; else who came last. */
function claim<K>(index: Map<K, Host>, key: K, host: Host) {
  const other = index.get(key)
  if (!other || other.is_automatic || !host.is_automatic) index.set(key, host)
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
