import type { ServedNetwork } from '../../dhcp/served.ts'
import type { Served } from '../driver.ts'
import type { Book } from './book.ts'
import { type Entry, entryOf } from './hosts.ts'
import { type Subnet, subnetsOf } from './subnets.ts'

/** What is served by one dnsmasq, as it is to know it. */
export type Knowledge = {
  networks(): ServedNetwork[]
  readonly subnets: ReadonlyMap<string, Subnet>
  /** What is to be known of hosts now, and of others because of them; null is for hosts that are gone. */
  entriesOf(keys: Iterable<string>): Map<string, Entry | null>
  /** Looks at all networks and hosts anew. */
  all(): Map<string, Entry | null>
  /** A host calls itself so. */
  learn(key: string, duid: string): void
  /** What dnsmasq cannot do with the networks. */
  unserved(): string[]
}

export type KnowledgeOptions = {
  readonly served: Served
  readonly networkIds: readonly string[]
  readonly lease_seconds: number
  readonly book: Pick<Book, 'entries'>
  readonly declined: ReadonlyMap<string, number>
}

/** Hosts of several networks are kept apart: an unknown client is a host by the same id on each. */
export const keyOf = (network_id: string, host_id: string) => `${network_id} ${host_id}`

export function createKnowledge(options: KnowledgeOptions): Knowledge {
  const { served, networkIds, lease_seconds, book, declined } = options
  const subnets = new Map<string, Subnet>()
  const keysByDuid = new Map<string, Set<string>>()
  const learned = new Map<string, string>()

  const networks = () => networkIds.flatMap(id => served.get(id)?.network ?? [])

  function hostOf(key: string) {
    const space = key.indexOf(' ')
    const network_id = key.slice(0, space)
    return { network_id, host: served.get(network_id)?.hosts.get(key.slice(space + 1)) }
  }

  /** Those who have shared a DUID with a host, or do now. */
  function noteDuid(key: string): Set<string> {
    const { network_id, host } = hostOf(key)
    const now = host?.duid ?? null
    const others = new Set<string>()
    for (const duid of new Set([book.entries.get(key)?.host.duid ?? null, now])) {
      if (duid === null) continue
      const id = `${network_id} ${duid}`
      const keys = keysByDuid.get(id) ?? new Set()
      for (const other of keys) others.add(other)
      if (duid === now) keysByDuid.set(id, keys.add(key))
      else keys.delete(key)
      if (keys.size === 0) keysByDuid.delete(id)
    }
    return others
  }

  function entriesOf(keys: Iterable<string>): Map<string, Entry | null> {
    const now = Date.now()
    const all = new Set(keys)
    for (const key of [...all]) for (const other of noteDuid(key)) all.add(other)
    const entries = new Map<string, Entry | null>()
    for (const key of all) {
      const { network_id, host } = hostOf(key)
      const isDuidShared = (keysByDuid.get(`${network_id} ${host?.duid}`)?.size ?? 0) > 1
      if (!host) learned.delete(key)
      const learned_duid = learned.get(key) ?? null
      const facts = { network_id, subnets, now, isDuidShared, learned_duid, declined }
      entries.set(key, host ? entryOf(host, facts) : null)
    }
    return entries
  }

  return {
    networks,
    subnets,
    entriesOf,
    all() {
      subnets.clear()
      for (const network of networks()) {
        for (const subnet of subnetsOf(network, lease_seconds)) subnets.set(subnet.block_id, subnet)
      }
      const keys = new Set(book.entries.keys())
      for (const id of networkIds) {
        for (const host_id of served.get(id)?.hosts.keys() ?? []) keys.add(keyOf(id, host_id))
      }
      return entriesOf(keys)
    },
    learn(key, duid) {
      learned.set(key, duid)
    },
    unserved: () =>
      networks()
        .flatMap(network => network.subnets)
        .filter(({ block_id }) => !subnets.has(block_id))
        .map(({ cidr }) => `subnet ${cidr}: dnsmasq serves no IPv6 subnet larger than /64`),
  }
}
