import {
  type BlockFacts,
  type ConfiguredOption,
  mergeOptions,
  type SetOption,
  type Sourced,
} from '../dhcp/configuration.ts'
import { parseAddress } from '../ip/address.ts'
import { parsePrefix } from '../ip/prefix.ts'

/** An interface, and what it holds: addresses, and delegated prefixes as address/length. */
export type Nic = {
  readonly id: string
  readonly network_id: string | null
  readonly name: string
  readonly mac_address: string | null
  readonly addresses: readonly Held[]
}
type Held = { readonly allocation_id: string; readonly block_id: string; readonly address: string }

/** `metric` is null where nobody has said; the gateway 0.0.0.0 stands for the link itself. */
export type Route = {
  readonly destination: string
  readonly gateway: string
  readonly metric: number | null
}

export type HostBlock = Omit<BlockFacts, 'routes'> & {
  readonly network_id: string | null
  readonly routes: readonly Route[]
}

type Said = SetOption & { readonly version: 4 | 6 }

/** What interfaces and their addresses may need to be configured. */
export type HostFacts = {
  /** By their ids. */
  readonly blocks: ReadonlyMap<string, HostBlock>
  /** What is said on the way up from a block, on an interface, by a network: the nearest first. */
  readonly said: Readonly<
    Record<'block' | 'interface' | 'network', ReadonlyMap<string, readonly Said[]>>
  >
}

/** What an interface is told for its addresses of one subnet. A value is null if nobody says it. */
export type ConfiguredSubnet = {
  readonly block: HostBlock
  readonly addresses: Pick<Held, 'allocation_id' | 'address'>[]
  readonly prefix_length: Sourced<number>
  /** Where the default route leads; null also if `routes` has one of its own. */
  readonly gateway: Sourced<string> | null
  readonly routes: Sourced<Route[]> | null
  readonly name_servers: Sourced<string[]> | null
  readonly search_domains: Sourced<string[]> | null
  readonly ntp_servers: Sourced<string[]> | null
  /** By code, of the version of the block. */
  readonly options: readonly ConfiguredOption[]
}

/** All that a host needs to set up one interface. */
export type ConfiguredInterface<N extends Nic = Nic> = {
  readonly nic: N
  readonly mtu: Sourced<number> | null
  /** In the order of the first address in each. */
  readonly subnets: readonly ConfiguredSubnet[]
  /** Prefixes that are delegated to the machine behind it: none of its own addresses. */
  readonly prefixes: readonly Held[]
}

/**
 * What an interface is told. What a DHCP client would be told is said here, too, so that it makes no
 * difference how a machine is configured. An address whose block is not known is left out.
 */
export function configureInterface<N extends Nic>(
  nic: N,
  { blocks, said }: HostFacts,
): ConfiguredInterface<N> {
  const own = said.interface.get(nic.id) ?? []
  const isPrefix = ({ address }: Held) => address.includes('/')
  const byBlock = new Map<string, Held[]>()
  for (const held of nic.addresses.filter(one => !isPrefix(one))) {
    byBlock.set(held.block_id, [...(byBlock.get(held.block_id) ?? []), held])
  }
  const subnets = [...byBlock].flatMap(([block_id, held]) => {
    const block = blocks.get(block_id)
    if (!block) return []
    const set = [...own, ...(said.block.get(block_id) ?? [])]
    return configureSubnet(
      block,
      held,
      set.filter(({ version }) => version === block.version),
    )
  })
  const network_id = nic.network_id ?? subnets[0]?.block.network_id ?? null
  const ofNetwork = network_id === null ? [] : (said.network.get(network_id) ?? [])
  return {
    nic,
    mtu: smallestMtu(subnets, [...own, ...ofNetwork]),
    subnets,
    prefixes: nic.addresses.filter(isPrefix),
  }
}

function configureSubnet(
  block: HostBlock,
  held: readonly Held[],
  set: readonly SetOption[],
): ConfiguredSubnet {
  const options = mergeOptions(block, set)
  const routes = routesOf(block, options)
  const isDefault = ({ destination }: Route) => destination === defaults[block.version]
  return {
    block,
    addresses: held.map(({ allocation_id, address }) => ({ allocation_id, address })),
    prefix_length: prefixLengthOf(block, options),
    gateway: routes?.value.some(isDefault) ? null : gatewayOf(block, options),
    routes,
    ...serversOf(block, options),
    options,
  }
}

/** What the subnets of an interface have of something, each once. */
export const valuesOf = (
  subnets: readonly ConfiguredSubnet[],
  member: 'name_servers' | 'search_domains',
): string[] => [...new Set(subnets.flatMap(subnet => subnet[member]?.value ?? []))]

const defaults = { 4: '0.0.0.0/0', 6: '::/0' }

/** All routes of a subnet; the default route to its gateway comes first. */
export const allRoutes = ({ block, gateway, routes }: ConfiguredSubnet): readonly Route[] => [
  ...(gateway
    ? [{ destination: defaults[block.version], gateway: gateway.value, metric: null }]
    : []),
  ...(routes?.value ?? []),
]

/** The options that say what has a place of its own: RFC 2132, 3397, 3442, 3646, 4075, 5908. */
const codes = {
  4: { dns: [6], search: [119, 15], ntp: [42] },
  6: { dns: [23], search: [24], ntp: [56, 31] },
}
const subnetMask = 1
const router = 3
const mtu = 26
const classlessRoutes = 121

const find = (options: readonly ConfiguredOption[], code: number) =>
  options.find(({ option }) => option.code === code)

/** Of the first of some options that is in force; what holds one value comes as a list of it. */
function listOf(
  options: readonly ConfiguredOption[],
  wanted: readonly number[],
): Sourced<string[]> | null {
  const [found] = wanted.flatMap(code => find(options, code) ?? [])
  if (!found) return null
  const { value, source, derived_from } = found
  return { value: [value].flat().map(String), source, derived_from }
}

const serversOf = ({ version }: HostBlock, options: readonly ConfiguredOption[]) => ({
  name_servers: listOf(options, codes[version].dns),
  search_domains: listOf(options, codes[version].search),
  ntp_servers: listOf(options, codes[version].ntp),
})

const ofBlock = <V>({ id }: HostBlock, value: V, derived_from: Sourced<V>['derived_from']) => ({
  value,
  source: { type: 'block' as const, id },
  derived_from,
})

/** In IPv4 a mask that is set counts, if it is one. */
function prefixLengthOf(block: HostBlock, options: readonly ConfiguredOption[]): Sourced<number> {
  const own = ofBlock(block, parsePrefix(block.cidr)?.prefix.length ?? 0, 'cidr')
  const set = block.version === 4 ? find(options, subnetMask) : undefined
  const bits = parseAddress(String(set?.value))?.value.toString(2).padStart(32, '0') ?? ''
  if (!set || !/^1*0*$/.test(bits) || bits === '') return own
  const { source, derived_from } = set
  return { value: bits.replaceAll('0', '').length, source, derived_from }
}

/** Who gets classless routes pays no heed to routers (RFC 3442); IPv6 has no option for routers. */
function gatewayOf(block: HostBlock, options: readonly ConfiguredOption[]): Sourced<string> | null {
  const { version, gateway_ip } = block
  if (version === 6) return gateway_ip === null ? null : ofBlock(block, gateway_ip, 'gateway_ip')
  if (find(options, classlessRoutes)?.derived_from === null) return null
  const routers = listOf(options, [router])
  const [value] = routers?.value ?? []
  return routers && value !== undefined ? { ...routers, value } : null
}

/** Classless routes that are set take the place of those of the block, which have metrics. */
function routesOf(block: HostBlock, options: readonly ConfiguredOption[]): Sourced<Route[]> | null {
  const set = block.version === 4 ? find(options, classlessRoutes) : undefined
  if (set?.derived_from === null) {
    const { source, derived_from } = set
    const value = (set.value as readonly Omit<Route, 'metric'>[]).map(one => ({
      ...one,
      metric: null,
    }))
    return { value, source, derived_from }
  }
  if (block.routes.length === 0) return null
  const value = block.routes.map(({ destination, gateway, metric }) => {
    return { destination, gateway, metric }
  })
  return ofBlock(block, value, 'routes')
}

/**
 * An interface has one MTU, which DHCPv4 alone tells (RFC 2132 §5.1): that of its subnets, of which
 * the smallest fits all; without any what is said on it and by its network, the nearest first.
 */
function smallestMtu(
  subnets: readonly ConfiguredSubnet[],
  said: readonly Said[],
): Sourced<number> | null {
  const told = subnets.flatMap(({ block, options }) =>
    block.version === 4 ? (find(options, mtu) ?? []) : [],
  )
  const [nearest] = said.filter(({ version, code }) => version === 4 && code === mtu)
  const [smallest] = (told.length > 0 ? told : nearest ? [nearest] : [])
    .map(({ value, source, derived_from }) => ({ value: Number(value), source, derived_from }))
    .toSorted((a, b) => a.value - b.value)
  return smallest ?? null
}
