import { parseAddress } from '../ip/address.ts'
import { type Prefix, parsePrefix, prefixHolds } from '../ip/prefix.ts'
import { allRoutes, type ConfiguredInterface, valuesOf } from './configuration.ts'

// cloud-init's "Networking config Version 2", which is a part of netplan's YAML. Its JSON is YAML.

type RouteV2 = {
  readonly to: string
  /** Also where it leads to the link itself (0.0.0.0): cloud-init fails on a route without it. */
  readonly via: string
  readonly 'on-link'?: true
  readonly metric?: number
}

export type CloudInitNetwork = {
  readonly version: 2
  readonly ethernets: Readonly<
    Record<
      string,
      {
        readonly match: { readonly macaddress: string }
        readonly 'set-name'?: string
        readonly mtu?: number
        readonly addresses?: string[]
        readonly routes?: RouteV2[]
        readonly nameservers?: {
          readonly addresses?: string[]
          readonly search?: string[]
        }
      }
    >
  >
}

/**
 * What a host is told, as cloud-init and netplan read it. An interface without a MAC is left out:
 * nothing tells which it is. One whose name Linux can have, and no other has, is called so.
 */
export function cloudInitNetwork(interfaces: readonly ConfiguredInterface[]): CloudInitNetwork {
  const seen = new Map<string, number>()
  const ethernets = interfaces.flatMap(configured => {
    const { nic, mtu, subnets } = configured
    if (nic.mac_address === null) return []
    const isUnique = interfaces.filter(other => other.nic.name === nic.name).length === 1
    const name = isUnique && isLinuxName(nic.name) ? nic.name : null
    const addresses = subnets.flatMap(({ addresses, prefix_length }) =>
      addresses.map(({ address }) => `${address}/${prefix_length.value}`),
    )
    const routes = routesOf(configured, addresses, seen)
    const servers = valuesOf(subnets, 'name_servers')
    const search = valuesOf(subnets, 'search_domains')
    const ethernet = {
      match: { macaddress: nic.mac_address },
      ...(name !== null && { 'set-name': name }),
      ...(mtu && { mtu: mtu.value }),
      ...(addresses.length > 0 && { addresses }),
      ...(routes.length > 0 && { routes }),
      ...((servers.length > 0 || search.length > 0) && {
        nameservers: {
          ...(servers.length > 0 && { addresses: servers }),
          ...(search.length > 0 && { search }),
        },
      }),
    }
    return [[name ?? nic.id, ethernet] as const]
  })
  return { version: 2, ethernets: Object.fromEntries(ethernets) }
}

/** The kernel takes 15 bytes but `/`, `:` and blanks; these names have a meaning of their own. */
const isLinuxName = (name: string) =>
  /^(?!\d+$)[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$/.test(name) && !/^(lo|all|default)$/.test(name)

/** Above what Linux gives routes without a metric: 0 in IPv4, 1024 in IPv6. */
const laterMetric = 2000

/**
 * The routes of an interface. `seen` counts those of the host that had no metric, by destination: to
 * the same one the first comes first, and the others get metrics behind it.
 */
function routesOf(
  { subnets }: ConfiguredInterface,
  addresses: readonly string[],
  seen: Map<string, number>,
): RouteV2[] {
  const prefixes = addresses.flatMap(text => parsePrefix(text)?.prefix ?? [])
  const distinct = new Map(
    subnets.flatMap(allRoutes).map(route => [`${route.destination} ${route.gateway}`, route]),
  )
  return [...distinct.values()].map(({ destination, gateway, metric }) => {
    const earlier = metric === null ? (seen.get(destination) ?? 0) : 0
    if (metric === null) seen.set(destination, earlier + 1)
    const preference = metric ?? (earlier > 0 ? laterMetric + earlier : null)
    return {
      to: destination,
      via: gateway,
      ...(!isNear(gateway, prefixes) && { 'on-link': true as const }),
      ...(preference !== null && { metric: preference }),
    }
  })
}

const linkLocal = parsePrefix('fe80::/10')?.prefix

/** Whether a gateway can be reached without being told that it is on the link. */
function isNear(gateway: string, prefixes: readonly Prefix[]): boolean {
  const address = parseAddress(gateway)
  const near = [...prefixes, ...(linkLocal ? [linkLocal] : [])]
  return near.some(prefix => address && prefixHolds(prefix, address))
}
