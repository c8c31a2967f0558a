import { createHash } from 'node:crypto'
import { canonicalDomain } from '../../dhcp/domain-names.ts'
import type { ServedHost, ServedOption } from '../../dhcp/served.ts'
import { formatAddress, parseAddress } from '../../ip/address.ts'
import { lineMax, optionLines } from './option-lines.ts'
import { leaseSeconds, leaseText, optionsToSay, own, type Subnet } from './subnets.ts'

// Hosts as dnsmasq reads them (--dhcp-hostsfile).

/** What dnsmasq knows of a host. */
export type Entry = {
  readonly network_id: string
  readonly host: ServedHost
  /** By which it is known, as lines have them. */
  readonly names: readonly string[]
  /** One for each subnet, the one that matters most at the end. */
  readonly lines4: readonly { readonly address: string; readonly tag: string; text: string }[]
  readonly line6: string | null
  /** Options of its own, by their tags. */
  readonly sets: ReadonlyMap<string, readonly string[]>
  /** What it may have now, by address. */
  readonly addresses: ReadonlyMap<
    string,
    { readonly allocation_id: string; readonly subnet: Subnet }
  >
  /** When something of this changes by itself, in milliseconds since 1970. */
  readonly until: number
  /** What of it dnsmasq cannot do. */
  readonly unsaid: readonly string[]
}

export type EntryFacts = {
  readonly network_id: string
  readonly subnets: ReadonlyMap<string, Subnet>
  readonly now: number
  /** Whether another host of the network has its DUID, too. */
  readonly isDuidShared: boolean
  /** A DUID by which it calls itself, where none is known of it. */
  readonly learned_duid: string | null
  /** Until when addresses are withheld that a client declined a moment ago. */
  readonly declined: ReadonlyMap<string, number>
}

/** So many addresses of IPv6 fit into a line. */
const addressesMax = 12
const hostName = 12

export function entryOf(host: ServedHost, facts: EntryFacts): Entry {
  const { network_id, subnets, now } = facts
  const unsaid: string[] = []
  let until = Number.POSITIVE_INFINITY
  const addresses = new Map<string, { allocation_id: string; subnet: Subnet }>()
  for (const { address: text, allocation_id, block_id, ...times } of host.addresses) {
    if (text.includes('/')) {
      unsaid.push('delegated prefixes')
      continue
    }
    const parsed = parseAddress(text)
    const subnet = subnets.get(block_id)
    if (!parsed || !subnet || parsed.version !== subnet.version) continue
    const address = formatAddress(parsed)
    const withheld = timeOf(times.withheld_until) ?? facts.declined.get(address) ?? 0
    const expires = timeOf(times.expires_at) ?? Number.POSITIVE_INFINITY
    if (expires <= now) continue
    if (withheld > now) until = Math.min(until, withheld)
    else {
      until = Math.min(until, expires)
      addresses.set(address, { allocation_id, subnet })
    }
  }

  const sets = new Map<string, readonly string[]>()
  const optionsIn = new Map<Subnet, { readonly tags: string[]; readonly seconds: number }>()
  for (const { subnet } of addresses.values()) {
    if (optionsIn.has(subnet)) continue
    const set = host.options.find(one => one.block_id === subnet.block_id)?.options
    const options = withName(set ?? subnet.options, host.host_name, subnet.version)
    const usual = subnet.unknown_clients?.lease_seconds
    const seconds = leaseSeconds(options, subnet.lease_seconds)
    const isHeld = host.type === 'client' && usual !== undefined
    const lasts = isHeld ? Math.min(seconds, leaseSeconds([], usual)) : seconds
    const isOwn = set !== undefined || options !== subnet.options
    const tags = isOwn ? [addSet(sets, subnet, options, unsaid)] : []
    optionsIn.set(subnet, { tags, seconds: lasts })
  }

  const names4 = namesOf(host, 4, facts, unsaid)
  const names6 = namesOf(host, 6, facts, unsaid)
  const lines4 = [...optionsIn].flatMap(([subnet, { tags, seconds }]) => {
    const [address] = [...addresses].find(([, one]) => one.subnet === subnet) ?? []
    if (subnet.version !== 4 || address === undefined || names4.length === 0) return []
    const name = plainName(host.host_name)
    const fields = [
      ...names4,
      ...tagFields(tags),
      address,
      ...(name === null ? [] : [name]),
      ...(seconds === subnet.lease_seconds ? [] : [leaseText(seconds)]),
    ]
    return [{ address, tag: subnet.tag, text: fields.join(',') }]
  })
  return {
    network_id,
    host,
    names: [...new Set([...names4, ...names6])],
    lines4: lines4.filter(({ text }) => text.length <= lineMax).toReversed(),
    line6: line6Of(addresses, optionsIn, names6),
    sets,
    addresses,
    until,
    unsaid: [...new Set(unsaid)],
  }
}

const timeOf = (text: string | null) => (text === null ? null : Date.parse(text))

function line6Of(
  addresses: Entry['addresses'],
  optionsIn: ReadonlyMap<Subnet, { readonly tags: readonly string[]; readonly seconds: number }>,
  names: readonly string[],
): string | null {
  const found = [...addresses].filter(([, { subnet }]) => subnet.version === 6)
  const subnets = [...new Set(found.map(([, { subnet }]) => subnet))]
  const [first] = subnets
  if (!first || names.length === 0) return null
  const told = subnets.flatMap(subnet => optionsIn.get(subnet) ?? [])
  const seconds = Math.min(...told.map(one => one.seconds))
  const fields = [
    ...names,
    ...tagFields(told.flatMap(({ tags }) => tags)),
    // dnsmasq prefers the last one.
    ...found
      .slice(0, addressesMax)
      .map(([address]) => `[${address}]`)
      .toReversed(),
    ...(subnets.every(one => one.lease_seconds === seconds) ? [] : [leaseText(seconds)]),
  ]
  return fields.join(',')
}

const tagFields = (tags: readonly string[]) =>
  tags.length === 0 ? [] : [...tags, own].map(tag => `set:${tag}`)

/** A line that has no address for hosts with such names, whatever others say. */
export const goneLine = (names: readonly string[]) => names.join(',')

function namesOf(
  { mac_address, client_id, duid }: ServedHost,
  version: 4 | 6,
  { isDuidShared, learned_duid }: EntryFacts,
  unsaid: string[],
): string[] {
  const id = version === 4 ? client_id : isDuidShared ? null : (duid ?? learned_duid)
  const names = mac_address === null ? [] : [mac_address]
  if (id === null) {
    if (version === 6 && duid !== null && mac_address === null) unsaid.push('shared DUIDs')
    return names
  }
  // Without a colon it would be taken for text.
  if (id.length < 4) unsaid.push('identifiers of one byte')
  else names.push(`id:${(id.match(/../g) ?? []).join(':')}`)
  return names
}

/** A name that dnsmasq takes for nothing else in a line: no time, no word of its own, no domain. */
function plainName(name: string | null): string | null {
  if (name === null || !/^[a-z]([a-z0-9_-]{0,61}[a-z0-9])?$/.test(name)) return null
  return ['ignore', 'infinite'].includes(name) ? null : name
}

/** A host with a name that is more than a label is told it as an option. */
function withName(
  options: readonly ServedOption[],
  name: string | null,
  version: 4 | 6,
): readonly ServedOption[] {
  if (version === 6 || name === null || plainName(name) !== null) return options
  const canonical = canonicalDomain(name)
  if (canonical === null || options.some(({ code }) => code === hostName)) return options
  return [...options, { code: hostName, value: canonical }]
}

/** Notes options by a tag that is made of them: who has the same shares them. */
function addSet(
  sets: Map<string, readonly string[]>,
  subnet: Subnet,
  options: readonly ServedOption[],
  unsaid: string[],
): string {
  const { version, boot_files, block_id } = subnet
  const said = optionsToSay(subnet, options)
  const facts = JSON.stringify([block_id, said, boot_files])
  const tag = `o${createHash('sha256').update(facts).digest('hex').slice(0, 20)}`
  const { lines, unsaid: codes } = optionLines([tag, subnet.tag], {
    version,
    options: said,
    boot_files,
  })
  for (const code of codes) unsaid.push(`option ${code} of IPv${version}`)
  sets.set(tag, lines)
  return tag
}
