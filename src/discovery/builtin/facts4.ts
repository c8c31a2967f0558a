import { optionOf } from '../../dhcp/options.ts'
import type { ServedHost, ServedNetwork, ServedOption, ServedSubnet } from '../../dhcp/served.ts'
import type { BindingStore, Host, Link, Reservation, Subnet } from '../../dhcp/v4/bindings.ts'
import { createPreparer, type PrepareTold } from '../../dhcp/v4/told.ts'
import type { DiscoveryConfig } from '../config.ts'
import { circuitBytes, numberOfAddress, numberOfMac, timeOf } from './texts.ts'
import type { Withheld } from './withheld.ts'

type Relay = DiscoveryConfig['networks'][number]['relays'][number]

/** How networks are served. */
export type Facts4Options = {
  readonly bindings: BindingStore
  readonly withheld: Withheld
  /** Of a network, by its id. */
  readonly relaysOf: (id: string) => readonly Relay[]
  readonly lease_seconds: number
  readonly rapid_commit: boolean
}

/** Puts what the API says into the bindings of DHCPv4. */
export type Facts4 = {
  /** A network, with all its hosts. */
  putNetwork(network: ServedNetwork, hosts: Iterable<ServedHost>): void
  dropNetwork(id: string): void
  /** What is bound now; null for a host without anything to do with DHCPv4, or an unknown network. */
  putHost(network_id: string, host: ServedHost): Host | null
  dropHost(network_id: string, id: string): void
  /** Tells an address to nobody for a while. */
  withhold(link: Link, host: Host, allocation_id: string, now: number): void
}

/** A subnet, with what is needed for hosts that have options of their own. */
type Place = { readonly subnet: Subnet; readonly served: ServedSubnet }

/** Of a network without MTU of its own. */
const usualMtu = 1500

export function createFacts4(options: Facts4Options): Facts4 {
  const { bindings, withheld, lease_seconds, rapid_commit } = options
  const prepare = createPreparer({ size_max: 10_000 })
  const networks = new Map<string, ReadonlyMap<string, Place>>()

  function reservationsOf(host: ServedHost, places: ReadonlyMap<string, Place>): Reservation[] {
    const reservations: Reservation[] = []
    for (const { block_id, allocation_id, address, expires_at, withheld_until } of host.addresses) {
      const place = places.get(block_id)
      if (!place) continue
      reservations.push({
        allocation_id,
        address: numberOfAddress(address),
        text: address,
        subnet: place.subnet,
        told: host.options.length === 0 ? place.subnet.told : ownTold(host, place, prepare),
        expires_at: timeOf(expires_at),
        declined_until: withheld.until(allocation_id, timeOf(withheld_until)),
      })
    }
    return reservations
  }

  function putHost(network_id: string, host: ServedHost): Host | null {
    const places = networks.get(network_id)
    // What a client has that was known by its DUID, it has by DHCPv6.
    if (!places || (host.type === 'client' && host.duid !== null)) return null
    const bound: Host = {
      id: host.id,
      mac: host.mac_address === null ? null : numberOfMac(host.mac_address),
      client_id: host.client_id,
      is_automatic: host.type === 'client',
      host_name: host.host_name,
      reservations: reservationsOf(host, places),
    }
    bindings.putHost(network_id, bound)
    return bound
  }

  return {
    putHost,
    putNetwork(network, hosts) {
      const places = placesOf(network, prepare)
      networks.set(network.id, places)
      bindings.putLink({
        id: network.id,
        subnets: [...places.values()].map(({ subnet }) => subnet),
        relays: options.relaysOf(network.id).flatMap(({ address, circuit_id }) => {
          if (address.includes(':')) return []
          const circuit = circuit_id === undefined ? null : circuitBytes(circuit_id).toString('hex')
          return { giaddr: numberOfAddress(address), circuit_id: circuit }
        }),
        is_authoritative: true, // Melange knows all machines of its networks.
        lease_seconds,
        rapid_commit,
        mtu: network.mtu ?? usualMtu,
      })
      for (const host of hosts) putHost(network.id, host)
    },
    dropNetwork(id) {
      networks.delete(id)
      bindings.dropLink(id)
    },
    dropHost: bindings.dropHost,
    withhold(link, host, allocation_id, now) {
      const declined_until = withheld.add(allocation_id, now)
      const reservations = host.reservations.map(one =>
        one.allocation_id === allocation_id ? { ...one, declined_until } : one,
      )
      bindings.putHost(link.id, { ...host, reservations })
    },
  }
}

const configured = (options: readonly ServedOption[]) =>
  options.map(({ code, value }) => ({ option: optionOf(4, code), value }))

const bootsOf = ({ boot_files }: ServedSubnet) =>
  boot_files.map(({ architectures, server, file }) => ({
    architectures: architectures.length === 0 ? null : architectures,
    server,
    file,
  }))

function placesOf({ subnets }: ServedNetwork, prepare: PrepareTold): Map<string, Place> {
  const places = new Map<string, Place>()
  for (const served of subnets) {
    if (served.version !== 4) continue
    const [first = '', length] = served.cidr.split('/')
    const { lease_seconds } = served.unknown_clients ?? {}
    const subnet: Subnet = {
      id: served.block_id,
      first: numberOfAddress(first),
      length: Number(length),
      told: prepare(configured(served.options), bootsOf(served)),
      automatic: lease_seconds === undefined ? null : { lease_seconds },
    }
    places.set(served.block_id, { subnet, served })
  }
  return places
}

function ownTold({ options }: ServedHost, { subnet, served }: Place, prepare: PrepareTold) {
  const own = options.find(({ block_id }) => block_id === served.block_id)
  return own ? prepare(configured(own.options), bootsOf(served)) : subnet.told
}
