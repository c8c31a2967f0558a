import { addressBits, formatAddress, type IpVersion } from '../ip/address.ts'
import { parsePrefix } from '../ip/prefix.ts'
import {
  allRoutes,
  type ConfiguredInterface,
  type ConfiguredSubnet,
  valuesOf,
} from './configuration.ts'

// OpenStack's network_data.json, as Nova's metadata service and config drives have it
// (openstack/nova, doc/api_schemas/network_data.json).

export type NetworkData = {
  readonly links: {
    readonly id: string
    readonly vif_id: string
    readonly type: 'phy'
    readonly ethernet_mac_address: string
    readonly mtu: number | null
  }[]
  readonly networks: {
    readonly id: string
    readonly link: string
    readonly network_id: string
    readonly type: 'ipv4' | 'ipv6'
    readonly ip_address: string
    readonly netmask: string
    readonly routes: {
      readonly network: string
      readonly netmask: string
      readonly gateway: string
    }[]
    /**
     * Those of the link, with its first network. They are not in Nova's schema, but cloud-init reads
     * them; of those of several networks of a link some of its renderers lose the first.
     */
    readonly dns_nameservers?: string[]
    readonly dns_search?: string[]
  }[]
  readonly services: { readonly type: 'dns'; readonly address: string }[]
}

/**
 * What a host is told, in OpenStack's form. Each address is a network of its own; of those of one
 * subnet the first has the routes. An interface without a MAC is left out: nothing tells which it is.
 */
export function networkData(interfaces: readonly ConfiguredInterface[]): NetworkData {
  const links: NetworkData['links'][number][] = []
  const networks: NetworkData['networks'][number][] = []
  for (const { nic, mtu, subnets } of interfaces) {
    if (nic.mac_address === null) continue
    const link = `interface${links.length}`
    links.push({
      id: link,
      vif_id: nic.id,
      type: 'phy',
      ethernet_mac_address: nic.mac_address,
      mtu: mtu?.value ?? null,
    })
    const servers = valuesOf(subnets, 'name_servers')
    const search = valuesOf(subnets, 'search_domains')
    let isFirst = true
    for (const subnet of subnets) {
      for (const [index, { address }] of subnet.addresses.entries()) {
        networks.push({
          id: `network${networks.length}`,
          link,
          network_id: nic.network_id ?? subnet.block.network_id ?? '',
          type: `ipv${subnet.block.version}`,
          ip_address: address,
          netmask: netmask(subnet.block.version, subnet.prefix_length.value),
          routes: index === 0 ? routesOf(subnet) : [],
          ...(isFirst && servers.length > 0 && { dns_nameservers: servers }),
          ...(isFirst && search.length > 0 && { dns_search: search }),
        })
        isFirst = false
      }
    }
  }
  const servers = new Set(networks.flatMap(({ dns_nameservers = [] }) => dns_nameservers))
  const services = [...servers].map(address => ({ type: 'dns' as const, address }))
  return { links, networks, services }
}

const routesOf = (subnet: ConfiguredSubnet) =>
  allRoutes(subnet).map(({ destination, gateway }) => {
    const [network = ''] = destination.split('/')
    const length = parsePrefix(destination)?.prefix.length ?? 0
    return { network, netmask: netmask(subnet.block.version, length), gateway }
  })

function netmask(version: IpVersion, length: number): string {
  const bits = addressBits(version)
  const value = BigInt.asUintN(bits, -1n << BigInt(bits - length))
  return formatAddress({ version, value })
}
