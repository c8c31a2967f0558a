import type { ClientNames } from '../../dhcp/client-names.ts'
import type { ServedHost, ServedNetwork } from '../../dhcp/served.ts'
import { type HostRow, type HostRows, type RowSettings, rowsOf } from './rows.ts'

/** Whose an address is in Kea. */
export type Holder = {
  readonly network_id: string
  readonly host_id: string
  readonly allocation_id: string
}

/** What Kea is to have, as it follows from what is served. Nothing here writes. */
export type Reservations = {
  /** Works out the rows of a host anew; without one it has none. */
  put(network: ServedNetwork, host: ServedHost, settings: RowSettings): void
  drop(network_id: string, host_id: string): void
  /** Of a network, that is no longer served. */
  dropNetwork(network_id: string): void
  /** The rows that are in force, by digest. */
  readonly wanted: ReadonlyMap<string, HostRow>
  holderOf(subnet_id: number, address: string): Holder | null
  /** The interface on a network that has any of these names. */
  knownAs(network_id: string, names: ClientNames): string | null
  /** What a host has in Kea. */
  addressesOf(key: HostKey): readonly Freed[]
  /** Digests that came or went since this was asked, and addresses that were taken from somebody. */
  takeChanges(): { readonly digests: ReadonlySet<string>; readonly freed: readonly Freed[] }
  /** Hosts of which the time has come to work them out anew, and when it comes for the next. */
  due(now: number): { readonly hosts: readonly HostKey[]; readonly next: number | null }
}

export type HostKey = { readonly network_id: string; readonly host_id: string }
export type Freed = { readonly subnet_id: number; readonly address: string }

type Entry = HostRows & { readonly names: readonly string[] }
type Network = { readonly hosts: Map<string, Entry>; readonly names: Map<string, string> }

/** By what a host is known, in one list. */
const namesOf = ({ mac_address, client_id, duid }: ClientNames): string[] => [
  ...(mac_address === null ? [] : [mac_address]),
  ...(client_id === null ? [] : [`client ${client_id}`]),
  ...(duid === null ? [] : [`duid ${duid}`]),
]

const addressKey = (subnet_id: number, address: string) => `${subnet_id} ${address}`

export function createReservations(): Reservations {
  const networks = new Map<string, Network>()
  const wanted = new Map<string, HostRow>()
  /** Who wants a name in a subnet, the first of whom has it: two hosts may share a client id. */
  const claims = new Map<string, HostRow[]>()
  const holders = new Map<string, Holder>()
  const timed = new Map<string, HostKey & { readonly at: number }>()
  let digests = new Set<string>()
  let freed: Freed[] = []

  function claim(row: HostRow) {
    const others = claims.get(row.key)
    if (others) others.push(row)
    else claims.set(row.key, [row])
    if (!others) enforce(row)
  }

  function enforce(row: HostRow) {
    wanted.set(row.digest, row)
    digests.add(row.digest)
  }

  function give(row: HostRow) {
    const others = claims.get(row.key) ?? []
    const [first] = others
    const left = others.filter(one => one !== row)
    if (left.length > 0) claims.set(row.key, left)
    else claims.delete(row.key)
    if (first !== row) return
    wanted.delete(row.digest)
    digests.add(row.digest)
    if (left[0]) enforce(left[0])
  }

  function set(key: HostKey, entry: Entry) {
    const { network_id, host_id } = key
    const network: Network = networks.get(network_id) ?? { hosts: new Map(), names: new Map() }
    networks.set(network_id, network)
    const { hosts, names } = network
    const before = hosts.get(host_id)?.rows ?? []
    for (const name of hosts.get(host_id)?.names ?? []) {
      if (names.get(name) === host_id) names.delete(name)
    }
    for (const name of entry.names) names.set(name, host_id)
    const kept = new Set(entry.rows.map(({ digest }) => digest))
    const was = new Set(before.map(({ digest }) => digest))
    for (const row of before) if (!kept.has(row.digest)) give(row)
    for (const { subnet_id, reserved } of before) {
      for (const { address } of reserved) {
        const place = addressKey(subnet_id, address)
        if (holders.get(place)?.host_id === host_id) holders.delete(place)
        freed.push({ subnet_id, address })
      }
    }
    const rows = entry.rows.map(row => before.find(one => one.digest === row.digest) ?? row)
    for (const row of rows) if (!was.has(row.digest)) claim(row)
    for (const { subnet_id, reserved } of entry.rows) {
      for (const { address, allocation_id } of reserved) {
        holders.set(addressKey(subnet_id, address), { network_id, host_id, allocation_id })
        // It may have been somebody else's before.
        freed.push({ subnet_id, address })
      }
    }
    const name = `${network_id} ${host_id}`
    if (entry.changes_at === null) timed.delete(name)
    else timed.set(name, { network_id, host_id, at: entry.changes_at })
    if (rows.length + entry.names.length > 0 || entry.changes_at !== null) {
      hosts.set(host_id, { ...entry, rows })
    } else hosts.delete(host_id)
  }

  const drop = (network_id: string, host_id: string) => {
    if (networks.get(network_id)?.hosts.has(host_id)) {
      set({ network_id, host_id }, { rows: [], changes_at: null, names: [] })
    }
  }

  return {
    wanted,
    put(network, host, settings) {
      const names = host.type === 'interface' ? namesOf(host) : []
      const key = { network_id: network.id, host_id: host.id }
      set(key, { ...rowsOf(host, network, settings), names })
    },
    drop,
    dropNetwork(network_id) {
      for (const host_id of [...(networks.get(network_id)?.hosts.keys() ?? [])])
        drop(network_id, host_id)
      networks.delete(network_id)
    },
    holderOf: (subnet_id, address) => holders.get(addressKey(subnet_id, address)) ?? null,
    knownAs(network_id, names) {
      const known = networks.get(network_id)?.names
      return namesOf(names).reduce<string | null>(
        (id, name) => id ?? known?.get(name) ?? null,
        null,
      )
    },
    addressesOf({ network_id, host_id }) {
      const rows = networks.get(network_id)?.hosts.get(host_id)?.rows ?? []
      return rows.flatMap(({ subnet_id, reserved }) =>
        reserved.map(({ address }) => ({ subnet_id, address })),
      )
    },
    takeChanges() {
      const changes = { digests, freed }
      digests = new Set()
      freed = []
      return changes
    },
    due(now) {
      const hosts = [...timed.values()].filter(({ at }) => at <= now)
      const later = [...timed.values()].filter(({ at }) => at > now).map(({ at }) => at)
      return { hosts, next: later.length === 0 ? null : later.reduce((a, b) => Math.min(a, b)) }
    },
  }
}
