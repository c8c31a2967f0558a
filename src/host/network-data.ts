import { addressBits, formatAddress, type IpVersion } from '../ip/address.ts'
import { parsePrefix } from '../ip/prefix.ts'
import { allRoutes, type ConfiguredInterface, type ConfiguredSubnet } from './configuration.ts'

// OpenStack's network_data.json, as Nova's metadata service and config drives have it
// (openstack/nova, doc/api_schemas/network_data.json).

type Service = { readonly type: 'dns'; readonly address: string }

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
    readonly services: Service[]
    /** Not in Nova's schema, but read by cloud-init; there if there are any. */
    readonly dns_search?: string[]
  }[]
  readonly services: Service[]
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
          services: servicesOf(subnet),
          ...(subnet.search_domains && { dns_search: subnet.search_domains.value }),
        })
      }
    }
  }
  const services = new Map(
    networks.flatMap(network => network.services.map(one => [one.address, one])),
  )
  return { links, networks, services: [...services.values()] }
}

const servicesOf = ({ name_servers }: ConfiguredSubnet): Service[] =>
  (name_servers?.value ?? []).map(address => ({ type: 'dns', address }))

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
