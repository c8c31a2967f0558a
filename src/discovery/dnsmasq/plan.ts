import { createHash } from 'node:crypto'
import type { ServedNetwork } from '../../dhcp/served.ts'
import { formatAddress, parseAddress } from '../../ip/address.ts'
import { parsePrefix, prefixesOverlap } from '../../ip/prefix.ts'
import type { DiscoveryConfig } from '../config.ts'
import { DiscoveryError, type Served } from '../driver.ts'
import type { Place } from './configuration.ts'
import { localAddresses } from './local-addresses.ts'
import { type Subnet, subnetsOf } from './subnets.ts'

type ConfiguredNetwork = DiscoveryConfig['networks'][number]

/** One dnsmasq: where it is, and what it serves. */
export type UnitPlan = {
  readonly name: string
  readonly namespace: string | null
  readonly networks: readonly ConfiguredNetwork[]
  /** Own addresses to which relays send. */
  readonly listen: readonly string[]
}

/**
 * Which dnsmasqs there are to be. One listens to relays in a namespace, and then serves all that is
 * there; elsewhere there is one for each interface.
 *
 * @throws {DiscoveryError} if something is nowhere served
 */
export function plansOf({ networks, relay_listen }: DiscoveryConfig): UnitPlan[] {
  for (const { id, interface: name } of networks) {
    if (name !== undefined && !/^[A-Za-z0-9_.@-]+$/.test(name)) {
      throw new DiscoveryError(`network ${id}: dnsmasq takes no interface with the name ${name}`)
    }
  }
  const listening = new Map<string | null, string[]>()
  for (const { address: text, namespace = null } of relay_listen) {
    const address = parseAddress(text)
    if (!address) throw new DiscoveryError(`relay_listen: ${text} is not an address`)
    const known = listening.get(namespace) ?? []
    listening.set(namespace, [...known, formatAddress(address)])
  }
  const plans: UnitPlan[] = []
  for (const [namespace, listen] of listening) {
    const here = networks.filter(one => isHere(one, namespace))
    if (here.length === 0) continue
    plans.push({ name: nameOf(['relays', namespace ?? '']), namespace, networks: here, listen })
  }
  for (const network of networks) {
    const { id, interface: name, namespace = null } = network
    if (plans.some(plan => plan.networks.includes(network))) continue
    if (name === undefined) {
      throw new DiscoveryError(
        `network ${id} has no interface, and relay_listen has no address for it`,
      )
    }
    const unit = nameOf(['interface', namespace ?? '', name])
    if (plans.some(plan => plan.name === unit)) {
      throw new DiscoveryError(`network ${id}: another network is served on its interface ${name}`)
    }
    plans.push({ name: unit, namespace, networks: [network], listen: [] })
  }
  return plans
}

/** A network without an interface is wherever relays are listened to, unless it says where. */
const isHere = (network: ConfiguredNetwork, namespace: string | null) =>
  network.interface === undefined
    ? network.namespace === undefined || network.namespace === namespace
    : (network.namespace ?? null) === namespace

/** Short, and of characters that mean nothing in dnsmasq's files. */
const nameOf = (parts: readonly string[]) =>
  createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16)

/**
 * What one dnsmasq could not tell apart: it chooses by addresses, and does not look at circuit ids.
 */
export function conflictIn(plan: UnitPlan, served: Served): string | null {
  const all = plan.networks.flatMap(({ id }) => {
    const network = served.get(id)?.network
    return (network?.subnets ?? []).map(({ cidr }) => ({ id, cidr }))
  })
  for (const [place, one] of all.entries()) {
    for (const other of all.slice(0, place)) {
      const [a, b] = [parsePrefix(one.cidr)?.prefix, parsePrefix(other.cidr)?.prefix]
      if (one.id === other.id || !a || !b || !prefixesOverlap(a, b)) continue
      const where = plan.namespace === null ? 'one namespace' : `the namespace ${plan.namespace}`
      return `dnsmasq cannot serve networks ${other.id} and ${one.id} behind relays of ${where}: ${one.cidr} is in both`
    }
  }
  return null
}

/**
 * Where a dnsmasq is now.
 *
 * @throws if an interface is not there
 */
export async function placeOf(
  plan: UnitPlan,
  networks: readonly ServedNetwork[],
  lease_seconds: number,
): Promise<Place & { readonly addresses: Place['interfaces'][number]['addresses'] }> {
  const subnets = new Map<string, Subnet[]>()
  for (const network of networks) subnets.set(network.id, subnetsOf(network, lease_seconds))
  const of = (id: string) => subnets.get(id) ?? []
  const interfaces = []
  for (const { id, interface: name } of plan.networks) {
    if (name === undefined) continue
    const addresses = await localAddresses(plan.namespace, name)
    const mtu = networks.find(one => one.id === id)?.mtu ?? null
    interfaces.push({ name, addresses, subnets: of(id), mtu })
  }
  const relays = plan.networks.flatMap(({ id, relays: all }) =>
    all.flatMap(({ address: text }) => {
      const address = parseAddress(text)
      if (!address) return []
      const own = of(id).filter(({ version }) => version === address.version)
      return [{ address: formatAddress(address), subnets: own }]
    }),
  )
  const listening = plan.listen.flatMap(text => {
    const address = parseAddress(text)
    return address ? [{ ...address, text }] : []
  })
  return {
    interfaces,
    listen: plan.listen,
    relays,
    subnets: [...subnets.values()].flat(),
    addresses: [...interfaces.flatMap(({ addresses }) => addresses), ...listening],
  }
}
