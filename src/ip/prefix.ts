import {
  type Address,
  addressBits,
  formatAddress,
  type IpVersion,
  parseAddress,
  type Range,
} from './address.ts'

/** A CIDR (RFC 4632 §3.1): `first` is its network address, `length` the number of fixed bits. */
export type Prefix = {
  readonly version: IpVersion
  readonly first: bigint
  readonly length: number
}

/**
 * Reads `address/length` (RFC 4632 §3.1, RFC 4291 §2.3); `host_bits` says that the address had bits
 * set below the length, which `prefix` no longer has.
 */
export function parsePrefix(
  text: string,
): { readonly prefix: Prefix; readonly host_bits: boolean } | null {
  const slash = text.indexOf('/')
  if (slash < 0) return null
  const address = parseAddress(text.slice(0, slash))
  const length = parseLength(text.slice(slash + 1))
  if (!address || length === null || length > addressBits(address.version)) return null

  const { version, value } = address
  const host = BigInt.asUintN(addressBits(version) - length, value)
  return { prefix: { version, first: value - host, length }, host_bits: host !== 0n }
}

/** Writes a prefix as `address/length`, the address in its canonical form (RFC 5952 §4). */
export function formatPrefix({ version, first, length }: Prefix): string {
  return `${formatAddress({ version, value: first })}/${length}`
}

/** All addresses of a prefix, from the network address to the last. */
export function prefixRange(prefix: Prefix): Range {
  return { first: prefix.first, last: prefix.first + prefixSize(prefix) - 1n }
}

/** The number of addresses in a prefix. */
export function prefixSize({ version, length }: Prefix): bigint {
  return 1n << BigInt(addressBits(version) - length)
}

/** Whether every address of `inner` is in `outer`; never across IP versions. */
export function prefixContains(outer: Prefix, inner: Prefix): boolean {
  const { version, first: value } = inner
  return outer.length <= inner.length && prefixHolds(outer, { version, value })
}

/** Whether two prefixes share an address, which they do exactly when one contains the other. */
export function prefixesOverlap(a: Prefix, b: Prefix): boolean {
  return prefixContains(a, b) || prefixContains(b, a)
}

/** Whether an address is in a prefix; never across IP versions. */
export function prefixHolds(prefix: Prefix, { version, value }: Address): boolean {
  const { first, last } = prefixRange(prefix)
  return version === prefix.version && first <= value && value <= last
}

/**
 * The addresses that may be given out when network and broadcast address are kept back: they exist
 * in IPv4 (RFC 1122 §3.2.1.3) up to /30, but not in /31 and /32 (RFC 3021 §2.1) or in IPv6.
 */
export function hostRange(prefix: Prefix): Range {
  const { first, last } = prefixRange(prefix)
  const keepsBack = prefix.version === 4 && prefix.length <= 30
  return keepsBack ? { first: first + 1n, last: last - 1n } : { first, last }
}

function parseLength(text: string): number | null {
  return /^(0|[1-9]\d{0,2})$/.test(text) ? Number(text) : null
}
