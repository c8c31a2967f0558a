import { formatAddress, parseAddress } from '../../ip/address.ts'
import { parsePrefix, prefixHolds } from '../../ip/prefix.ts'
import type { DiscoveryConfig } from '../config.ts'
import type { Interface, Surroundings } from './interfaces.ts'

/** A socket that is to be open. */
export type SocketPlan = {
  /** A socket with another key is another one. */
  readonly key: string
  readonly version: 4 | 6
  /** Null for that of the process. */
  readonly namespace: string | null
  /** One that was inherited; null if it is to be opened. */
  readonly fd: number | null
  /** To which it is bound, with its zone. */
  readonly address: string
  /** Groups to join, on interfaces. */
  readonly groups: readonly { readonly address: string; readonly interface: string }[]
  /** The network whose clients send there; null if only relays and routers do. */
  readonly network_id: string | null
  readonly takes_remote: boolean
  readonly is_unicast: boolean
  /** IPv4: the address under which it answers, and all that the server has in the namespace. */
  readonly server: string
  readonly servers: readonly string[]
  /** The key of the socket that answers leave from: DHCPv4's must have an address. */
  readonly answers_from: string
}

export type Plan = {
  readonly sockets: readonly SocketPlan[]
  /** What cannot be served now, but may be later. */
  readonly problems: readonly string[]
  /** What cannot be served as it is configured. */
  readonly refusals: readonly string[]
}

export type PlanInput = {
  readonly config: Pick<DiscoveryConfig, 'networks' | 'relay_listen'>
  /** The CIDRs of the subnets that a network has. */
  readonly cidrsOf: (network_id: string) => readonly string[]
  /** By namespace; a text says why it cannot be looked into. */
  readonly surroundings: ReadonlyMap<string | null, Surroundings | string>
  /** Sockets that were handed over, by the interface to which each is bound. */
  readonly inherited: ReadonlyMap<string, number>
}

type Place = { readonly namespace: string | null; readonly around: Surroundings }
type ServedNetworkConfig = DiscoveryConfig['networks'][number]

const guide = 'see docs/guides/dhcp-builtin.md'

/** Which sockets serve a configuration, given what interfaces there are. */
export function planSockets(input: PlanInput): Plan {
  const sockets: SocketPlan[] = []
  const problems: string[] = []
  const refusals: string[] = []
  for (const [namespace, around] of input.surroundings) {
    if (typeof around === 'string') {
      problems.push(around)
      continue
    }
    const place = { namespace, around }
    const planned = [planServed(input, place), planRelays(input, place)]
    sockets.push(...planned.flatMap(one => one.sockets))
    problems.push(...planned.flatMap(one => one.problems))
    refusals.push(...planned.flatMap(one => one.refusals))
  }
  return { sockets: mergeAddresses(sockets), problems, refusals }
}

const isIn = (namespace: string | null, one: { readonly namespace?: string }) =>
  (one.namespace ?? null) === namespace

/** The network namespaces that a configuration names; null for that of the process. */
export const namespacesOf = ({ networks, relay_listen }: PlanInput['config']) =>
  new Set<string | null>([
    ...networks.flatMap(one => (one.interface === undefined ? [] : [one.namespace ?? null])),
    ...relay_listen.map(one => one.namespace ?? null),
  ])

const within = ({ namespace }: Place) => (namespace === null ? '' : ` in namespace ${namespace}`)

const keyOf = (
  { namespace, around }: Place,
  version: 4 | 6,
  address: string,
  { name, index } = { name: '', index: 0 },
) => [version, namespace ?? '', around.number, address, name, index].join(' ')

/** Interfaces on which machines of networks are. */
function planServed({ config, cidrsOf, inherited }: PlanInput, place: Place): Plan {
  const { namespace, around } = place
  const sockets: SocketPlan[] = []
  const problems: string[] = []
  const refusals: string[] = []
  const served = config.networks.filter(one => one.interface !== undefined && isIn(namespace, one))
  for (const network of served) {
    const name = network.interface ?? ''
    const own = around.interfaces.find(one => one.name === name)
    if (served.some(other => other !== network && other.interface === name)) {
      refusals.push(`interface ${name}${within(place)} is given to more than one network`)
    }
    if (!own?.is_up) {
      problems.push(`there is no interface ${name}${within(place)}${own ? ' that is up' : ''}`)
      continue
    }
    const prefixes = cidrsOf(network.id).flatMap(cidr => parsePrefix(cidr)?.prefix ?? [])
    const has = (version: 4 | 6) => prefixes.some(prefix => prefix.version === version)
    if (has(6)) sockets.push(...sockets6(place, network, own))
    if (!has(4)) continue
    const fd = namespace === null ? (inherited.get(name) ?? null) : null
    const refusal = fd === null ? whyNotAlone(place, own, served) : null
    if (refusal !== null) refusals.push(refusal)
    else if (own.v4.length === 0) {
      problems.push(`interface ${name}${within(place)} has no IPv4 address to answer from`)
    } else {
      // An address that machines reach without a router, if there is one.
      const near = own.v4.find(text => {
        const address = parseAddress(text)
        return address && prefixes.some(prefix => prefixHolds(prefix, address))
      })
      sockets.push(...sockets4({ place, network, own, server: near ?? own.v4[0] ?? '', fd }))
    }
  }
  return { sockets, problems, refusals }
}

/**
 * Why DHCPv4 cannot be served on an interface by sockets that hear all of them: nothing tells by
 * which a packet came, so none may be there that could bring packets of another network.
 */
function whyNotAlone(
  place: Place,
  { name }: Interface,
  served: readonly ServedNetworkConfig[],
): string | null {
  const others = place.around.interfaces.filter(
    one => one.name !== name && !one.is_loopback && one.is_up,
  )
  if (others.length === 0) return null
  const names = others.slice(0, 3).map(one => one.name)
  if (others.length > names.length) names.push('…')
  const way =
    place.namespace === null
      ? `put ${served.length > 1 ? 'each' : 'it'} into a network namespace, or hand over a socket bound to ${name} (systemd: BindToDevice=)`
      : 'put each into a network namespace of its own'
  return `interface ${name}${within(place)} is not the only one there (${names.join(', ')}), and a broadcast does not say by which it came: ${way}; ${guide}`
}

function sockets4({
  place,
  network,
  own,
  server,
  fd,
}: {
  readonly place: Place
  readonly network: ServedNetworkConfig
  readonly own: Interface
  /** The address for what goes to all. */
  readonly server: string
  readonly fd: number | null
}): SocketPlan[] {
  const common = {
    version: 4 as const,
    namespace: place.namespace,
    groups: [],
    network_id: network.id,
    takes_remote: false,
    servers: own.v4,
  }
  if (fd !== null) {
    const key = keyOf(place, 4, `fd ${fd}`, own)
    const bound = { key, fd, address: '0.0.0.0', is_unicast: false, server, answers_from: key }
    return [{ ...common, ...bound }]
  }
  const ofAddresses = own.v4.map(address => {
    const key = keyOf(place, 4, address)
    const bound = { key, fd, address, is_unicast: true, server: address, answers_from: key }
    return { ...common, ...bound }
  })
  const all = {
    key: keyOf(place, 4, '0.0.0.0'),
    fd,
    address: '0.0.0.0',
    is_unicast: false,
    server,
    answers_from: keyOf(place, 4, server),
  }
  return [...ofAddresses, { ...common, ...all }]
}

/** All servers, on a link and in a site (RFC 8415 §7.1). */
const groups6 = { link: 'ff02::1:2', site: 'ff05::1:3' }

const ofRelays6 = { version: 6, fd: null, server: '', servers: [], takes_remote: true } as const

/** Bound to addresses with zones, these hear what comes by their interface alone. */
function sockets6(place: Place, network: ServedNetworkConfig, own: Interface): SocketPlan[] {
  const locals = own.v6.filter(address => /^fe[89ab]/.test(address))
  return [groups6.link, ...locals].map(address => {
    const key = keyOf(place, 6, address, own)
    const isGroup = address === groups6.link
    return {
      ...ofRelays6,
      key,
      namespace: place.namespace,
      address: `${address}%${own.name}`,
      groups: isGroup ? [{ address, interface: own.name }] : [],
      network_id: network.id,
      takes_remote: false,
      is_unicast: !isGroup,
      answers_from: key,
    }
  })
}

/** Addresses to which relays send. */
function planRelays({ config }: PlanInput, place: Place): Plan {
  const { namespace, around } = place
  const problems: string[] = []
  const found = config.relay_listen
    .filter(one => isIn(namespace, one))
    .flatMap(({ address: text }) => {
      const parsed = parseAddress(text)
      const address = parsed ? formatAddress(parsed) : text
      const version = parsed?.version ?? 4
      const own = around.interfaces.find(({ v4, v6 }) => [...v4, ...v6].includes(address))
      if (own?.is_up) return [{ address, version, own }]
      problems.push(`no interface${within(place)} has the address ${address} of relay_listen`)
      return []
    })
  const servers = found.filter(({ version }) => version === 4).map(({ address }) => address)
  const sockets = found.map(({ address, version }): SocketPlan => {
    const key = keyOf(place, version, address)
    return {
      ...ofRelays6,
      version,
      key,
      namespace,
      address,
      groups: [],
      network_id: null,
      is_unicast: true,
      server: address,
      servers,
      answers_from: key,
    }
  })
  const first = found.find(({ version }) => version === 6)
  if (!first) return { sockets, problems, refusals: [] }
  const names = new Set(found.filter(({ version }) => version === 6).map(({ own }) => own.name))
  const site: SocketPlan = {
    ...ofRelays6,
    key: `${keyOf(place, 6, groups6.site)} ${[...names].toSorted()}`,
    namespace,
    address: groups6.site,
    groups: [...names].map(name => ({ address: groups6.site, interface: name })),
    network_id: null,
    is_unicast: false,
    answers_from: keyOf(place, 6, first.address),
  }
  return { sockets: [...sockets, site], problems, refusals: [] }
}

/** An address at which machines of a network and relays are heard needs one socket only. */
function mergeAddresses(sockets: readonly SocketPlan[]): SocketPlan[] {
  const byKey = new Map<string, SocketPlan>()
  for (const socket of sockets) {
    const other = byKey.get(socket.key)
    if (!other) byKey.set(socket.key, socket)
    else {
      byKey.set(socket.key, {
        ...other,
        network_id: other.network_id ?? socket.network_id,
        takes_remote: other.takes_remote || socket.takes_remote,
        servers: [...new Set([...other.servers, ...socket.servers])],
      })
    }
  }
  return [...byKey.values()]
}
