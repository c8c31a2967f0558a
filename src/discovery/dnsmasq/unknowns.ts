import { canonicalDomain } from '../../dhcp/domain-names.ts'
import type { Automatic, ClientNames } from '../driver.ts'
import type { Entry } from './hosts.ts'
import type { LogLine } from './log-lines.ts'
import { firstOf, type Subnet } from './subnets.ts'

/** Clients for which dnsmasq has nothing, as its log tells of them. */
export type Unknowns = {
  hear(line: LogLine): void
}

export type UnknownsOptions = {
  readonly automatic: Pick<Automatic, 'allocate'>
  /** The networks of the dnsmasq. */
  readonly networkIds: readonly string[]
  readonly subnets: () => Iterable<Subnet>
  /** Hosts that are known by a name, as lines have it. */
  readonly named: (name: string) => readonly Entry[]
  /** A host has come by an address. */
  readonly onHost: (network_id: string, host_id: string) => void
  /** A host calls itself by a DUID that it is not known by. */
  readonly onDuid: (entry: Entry, duid: string) => void
  /** A known host gets none, though it may have some. */
  readonly onRefused: (entry: Entry, client: string) => void
}

type Message = { mac: string | null; name: string | null; readonly firsts: string[] }

const messagesMax = 256
/** So many are asked for at a time; others ask again by themselves. */
const askedMax = 64
/** How long somebody who is to have none is not asked for again. */
const refusedMilliseconds = 30_000
const refusedMax = 10_000

export function createUnknowns(options: UnknownsOptions): Unknowns {
  const { automatic, networkIds, subnets, named, onHost, onDuid, onRefused } = options
  const messages = new Map<string, Message>()
  const asked = new Set<string>()
  const refused = new Map<string, number>()

  function messageOf(transaction: string): Message {
    const known = messages.get(transaction)
    if (known) return known
    const [oldest] = messages.keys()
    if (messages.size >= messagesMax && oldest !== undefined) messages.delete(oldest)
    const message = { mac: null, name: null, firsts: [] }
    messages.set(transaction, message)
    return message
  }

  function refuse(line: Extract<LogLine, { type: 'refused' }>) {
    const { version, client } = line
    const message = messageOf(line.transaction)
    messages.delete(line.transaction)
    const link = [...subnets()].filter(
      one => one.version === version && message.firsts.includes(firstOf(one)),
    )
    const ids = new Set(link.map(({ network }) => network.id))
    const [network_id] = networkIds.length === 1 ? networkIds : ids
    if (network_id === undefined || ids.size > 1) return
    const mac = version === 4 ? client : message.mac
    const names: ClientNames = {
      mac_address: mac,
      client_id: null,
      duid: version === 6 ? client : null,
      iaid: null,
    }
    const known = [
      ...(mac === null ? [] : named(mac)),
      ...(version === 6 ? named(`id:${(client.match(/../g) ?? []).join(':')}`) : []),
    ].filter(one => one.network_id === network_id)
    const [interfaceEntry] = known.filter(({ host }) => host.type === 'interface')
    const [served] = known.filter(({ addresses }) =>
      [...addresses.values()].some(({ subnet }) => subnet.version === version),
    )
    const entry = served ?? interfaceEntry
    if (entry) return onRefused(entry, client)
    // A relay may not say the MAC; then that in the DUID counts.
    const said = version === 6 && mac === null ? macInDuid(client) : null
    const [claimed] = said === null ? [] : named(said)
    if (claimed && claimed.network_id === network_id && claimed.host.duid === null) {
      return onDuid(claimed, client)
    }
    const open = [...subnets()].some(
      one => one.network.id === network_id && one.version === version && one.unknown_clients,
    )
    if (open) void ask(network_id, names, { ...line, message, link })
  }

  async function ask(
    network_id: string,
    client: ClientNames,
    { version, address, message, link }: Wish,
  ) {
    const key = `${network_id} ${version} ${client.duid ?? client.mac_address}`
    if (asked.has(key) || asked.size >= askedMax || (refused.get(key) ?? 0) > Date.now()) return
    asked.add(key)
    try {
      const host = await automatic.allocate({
        network_id,
        version,
        client,
        block_id: (link.length === 1 ? link[0]?.block_id : null) ?? null,
        address,
        host_name: message.name === null ? null : canonicalDomain(message.name),
        lease_seconds: null,
      })
      if (typeof host === 'object') onHost(network_id, host.id)
      if (host !== 'refused') return
      if (refused.size >= refusedMax) refused.clear()
      refused.set(key, Date.now() + refusedMilliseconds)
    } finally {
      asked.delete(key)
    }
  }

  return {
    hear(line) {
      switch (line.type) {
        case 'subnet':
          messageOf(line.transaction).firsts.push(line.first)
          break
        case 'mac':
          messageOf(line.transaction).mac = line.mac
          break
        case 'name':
          messageOf(line.transaction).name = line.name
          break
        case 'refused':
          refuse(line)
          break
      }
    },
  }
}

/** Of an Ethernet device (RFC 8415 §11.2, §11.4). */
function macInDuid(duid: string): string | null {
  const found = /^(?:00010001.{8}|00030001)(.{12})$/.exec(duid)?.[1]
  return found === undefined ? null : (found.match(/../g) ?? []).join(':')
}

type Wish = {
  readonly version: 4 | 6
  readonly address: string | null
  readonly message: Message
  readonly link: readonly Subnet[]
}
