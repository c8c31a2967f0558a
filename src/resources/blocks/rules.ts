import { type Address, parseAddress } from '../../ip/address.ts'
import { type Prefix, parsePrefix, prefixHolds, prefixRange } from '../../ip/prefix.ts'
import { mergeRanges, type Range } from '../../ip/range.ts'

/** What of a block decides which of its addresses are kept back. */
export type BlockShape = {
  readonly cidr: string
  readonly gateway_ip: string | null
  readonly allocate_network_address: boolean
  /** Whether the last address is kept back whatever the length of the prefix. */
  readonly keeps_last_address?: boolean
}

/** The prefix of a block; its CIDR comes from the database, so it is one. */
export function prefixOf({ cidr }: { readonly cidr: string }): Prefix {
  const parsed = parsePrefix(cidr)
  if (!parsed) throw new RangeError(`not a CIDR: ${cidr}`)
  return parsed.prefix
}

/** One address that a block keeps back by itself, and as what. */
export type ReservedAddress = {
  readonly value: bigint
  readonly reason: 'network address' | 'broadcast address' | 'gateway'
}

/**
 * The addresses of a block without children that are not given out: network, broadcast and
 * gateway. IPv4 /31 and /32 have neither network nor broadcast address (RFC 3021). In IPv6 the
 * network address of an on-link subnet, /64 to /126, is the routers' anycast address (RFC 4291
 * §2.6.1, RFC 6164); shorter prefixes are there to be divided.
 */
export function reservedAddresses(block: BlockShape): ReservedAddress[] {
  const prefix = prefixOf(block)
  const { first, last } = prefixRange(prefix)
  const hasNetworkAddress =
    prefix.version === 4 ? prefix.length <= 30 : prefix.length >= 64 && prefix.length <= 126
  const reserved: ReservedAddress[] = []
  if (hasNetworkAddress && !block.allocate_network_address) {
    reserved.push({ value: first, reason: 'network address' })
  }
  if (block.keeps_last_address || (hasNetworkAddress && prefix.version === 4)) {
    reserved.push({ value: last, reason: 'broadcast address' })
  }
  const gateway = block.gateway_ip === null ? null : parseAddress(block.gateway_ip)
  if (gateway && prefixHolds(prefix, gateway)) {
    reserved.push({ value: gateway.value, reason: 'gateway' })
  }
  return reserved
}

/** The same as ranges, lowest first. */
export function excludedRanges(block: BlockShape): Range[] {
  return mergeRanges(reservedAddresses(block).map(({ value }) => ({ first: value, last: value })))
}

/**
 * Whether an address can be the gateway of a block: inside it and neither network nor broadcast
 * address, or an IPv6 link-local address, which routers announce (RFC 4861 §4.2).
 */
export function canBeGateway(block: BlockShape, gateway: Address): boolean {
  const prefix = prefixOf(block)
  const isLinkLocal = gateway.version === 6 && gateway.value >> 118n === 0xfe80n >> 6n
  if (prefix.version === 6 && isLinkLocal) return true
  if (!prefixHolds(prefix, gateway)) return false
  const others = excludedRanges({ ...block, gateway_ip: null })
  return !others.some(({ first, last }) => first <= gateway.value && gateway.value <= last)
}

/** How a CIDR may become another: only by growing or shrinking where it stands. */
export function compareExtent(before: Prefix, after: Prefix): 'same' | 'grow' | 'shrink' | 'move' {
  const [old, now] = [prefixRange(before), prefixRange(after)]
  if (before.version !== after.version) return 'move'
  if (old.first === now.first && old.last === now.last) return 'same'
  if (now.first <= old.first && old.last <= now.last) return 'grow'
  return old.first <= now.first && now.last <= old.last ? 'shrink' : 'move'
}
