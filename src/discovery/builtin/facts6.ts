import { createBoundedMap } from '../../bounded-map.ts'
import { optionOf } from '../../dhcp/options.ts'
import type { ServedHost, ServedNetwork, ServedOption, ServedSubnet } from '../../dhcp/served.ts'
import type { BindingTable, Identifiers } from '../../dhcp/v6/binding-table.ts'
import {
  addressBytes,
  type Host,
  type LeaseFacts,
  type PreparedOptions,
  prepareHost,
  prepareOptions,
} from '../../dhcp/v6/bindings.ts'
import type { Facts4Options } from './facts4.ts'
import { circuitBytes, timeOf } from './texts.ts'

export type Facts6Options = Omit<Facts4Options, 'bindings'> & { readonly bindings: BindingTable }

/** Puts what the API says into the bindings of DHCPv6. */
export type Facts6 = {
  /** A network, with all its hosts. */
  putNetwork(network: ServedNetwork, hosts: Iterable<ServedHost>): void
  dropNetwork(id: string): void
  putHost(network_id: string, host: ServedHost): void
  dropHost(network_id: string, id: string): void
  /** Tells an address to nobody for a while. Time is in seconds since 1970. */
  withhold(network_id: string, host: Host, lease: Host['addresses'][number], now: number): void
  /** How long an address lasts that is allocated for an unknown client. */
  automaticSeconds(network_id: string): number
}

type Network = {
  readonly subnets: ReadonlyMap<string, ServedSubnet>
  /** Of hosts without options of their own, by the ids of the subnets in which they are. */
  readonly optionsOf: Map<string, PreparedOptions>
  readonly options: PreparedOptions
}

/** The usual part of the valid lifetime. */
const preferredPart = 0.625

export function createFacts6(options: Facts6Options): Facts6 {
  const { bindings, withheld, lease_seconds } = options
  const networks = new Map<string, Network>()
  const ownOptions = createBoundedMap<PreparedOptions>(10_000)

  function optionsOf(network: Network, host: ServedHost): PreparedOptions {
    const [first, ...more] = host.addresses
    const isIn = (id: string) => network.subnets.has(id)
    // Mostly a host is in one subnet, and told what all are told there.
    if (first && more.length === 0 && host.options.length === 0) {
      return network.optionsOf.get(first.block_id) ?? network.options
    }
    const ids = [...new Set(host.addresses.map(({ block_id }) => block_id))].filter(isIn)
    if (ids.length === 0) return network.options
    const own = host.options.filter(({ block_id }) => ids.includes(block_id))
    const key = own.length > 0 ? JSON.stringify([ids, own]) : ids.join()
    const known = own.length > 0 ? ownOptions : network.optionsOf
    const found = known.get(key)
    if (found) return found
    const served = [...own, ...network.subnets.values()]
    const prepared = prepareOptions(
      ids.map(id => configured(served.find(({ block_id }) => block_id === id)?.options ?? [])),
    )
    known.set(key, prepared)
    return prepared
  }

  function secondsOf(network: Network, host: ServedHost): number {
    if (host.type === 'interface') return lease_seconds
    const [subnet] = host.addresses.flatMap(({ block_id }) => network.subnets.get(block_id) ?? [])
    return Math.min(lease_seconds, subnet?.unknown_clients?.lease_seconds ?? lease_seconds)
  }

  function putHost(network_id: string, host: ServedHost) {
    const network = networks.get(network_id)
    const link = bindings.link(network_id)
    // What a client has that was not known by a DUID, it has by DHCPv4.
    if (!network || !link || (host.type === 'client' && host.duid === null)) return
    const leases: LeaseFacts[] = []
    for (const { address: text, allocation_id, expires_at, withheld_until } of host.addresses) {
      if (!text.includes(':')) continue
      const endsAt = timeOf(expires_at)
      leases.push({
        text,
        allocationId: allocation_id,
        endsAt: endsAt === null ? null : endsAt / 1000,
        withheldUntil: (withheld.until(allocation_id, timeOf(withheld_until)) ?? 0) / 1000,
      })
    }
    const validLifetime = secondsOf(network, host)
    const bound = prepareHost({
      id: host.id,
      isAutomatic: host.type === 'client',
      leases,
      options: optionsOf(network, host),
      preferredLifetime: Math.floor(validLifetime * preferredPart),
      validLifetime,
    })
    link.setHost(bound, identifiersOf(host))
  }

  return {
    putHost,
    putNetwork(network, hosts) {
      const subnets = network.subnets.filter(({ version }) => version === 6)
      if (subnets.length === 0) {
        networks.delete(network.id)
        bindings.removeLink(network.id)
        return
      }
      const all = prepareOptions(subnets.map(subnet => configured(subnet.options)))
      networks.set(network.id, {
        subnets: new Map(subnets.map(subnet => [subnet.block_id, subnet])),
        optionsOf: new Map(
          subnets.map(subnet => [subnet.block_id, prepareOptions([configured(subnet.options)])]),
        ),
        options: all,
      })
      bindings.setLink({
        id: network.id,
        interfaces: [network.id],
        relays: options.relaysOf(network.id).flatMap(({ address, circuit_id }) => {
          if (!address.includes(':')) return []
          const interfaceId = circuit_id === undefined ? null : circuitBytes(circuit_id)
          return { address: addressBytes(address), interfaceId }
        }),
        prefixes: subnets.map(({ cidr }) => cidr),
        isAutomatic: subnets.some(({ unknown_clients }) => unknown_clients !== null),
        hasRapidCommit: options.rapid_commit,
        options: all, // They are no secret, and SLAAC's machines are not always to be known.
      })
      for (const host of hosts) putHost(network.id, host)
    },
    dropNetwork(id) {
      networks.delete(id)
      bindings.removeLink(id)
    },
    dropHost: (network_id, id) => bindings.link(network_id)?.removeHost(id),
    withhold(network_id, host, { allocationId, text }, now) {
      const until = withheld.add(allocationId, now * 1000)
      bindings.link(network_id)?.quarantine(host.id, text, until / 1000)
    },
    automaticSeconds(network_id) {
      const subnets = [...(networks.get(network_id)?.subnets.values() ?? [])]
      const found = subnets.find(({ unknown_clients }) => unknown_clients !== null)
      return Math.min(lease_seconds, found?.unknown_clients?.lease_seconds ?? lease_seconds)
    },
  }
}

const configured = (options: readonly ServedOption[]) =>
  options.map(({ code, value }) => ({ option: optionOf(6, code), value }))

function identifiersOf({ type, mac_address, duid, iaid }: ServedHost): Identifiers {
  const mac =
    mac_address === null || type === 'client' ? {} : { mac: mac_address.replaceAll(':', '') }
  if (duid === null) return mac
  return { ...mac, clients: [{ duid: Buffer.from(duid, 'hex'), iaid }] }
}
