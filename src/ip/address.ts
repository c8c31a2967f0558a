/** The two versions of the Internet Protocol: RFC 791 and RFC 8200. */
export type IpVersion = 4 | 6

/** One address, as an integer of its IP version. */
export type Address = { readonly version: IpVersion; readonly value: bigint }

/** An inclusive run of addresses, as integers of one IP version; `first` is never above `last`. */
export type Range = { readonly first: bigint; readonly last: bigint }

/** The bits of an address: 32 (RFC 791 §3.2) or 128 (RFC 4291 §2). */
export function addressBits(version: IpVersion): 32 | 128 {
  return version === 4 ? 32 : 128
}

/**
 * Reads a dotted quad (RFC 3986 §3.2.2: four decimal octets, no leading zeros) or any IPv6 form of
 * RFC 4291 §2.2, and nothing else: no zone, no brackets, no spaces.
 */
export function parseAddress(text: string): Address | null {
  const version = text.includes(':') ? 6 : 4
  const value = version === 6 ? parseIpv6(text) : parseIpv4(text)
  return value === null ? null : { version, value }
}

/**
 * Writes an address in its one canonical form: a dotted quad, or RFC 5952 §4 with the IPv4 part of
 * `::ffff:0:0/96` and `::/96` (RFC 4291 §2.5.5) as a dotted quad, as RFC 5952 §5 recommends.
 */
export function formatAddress({ version, value }: Address): string {
  if (BigInt.asUintN(addressBits(version), value) !== value) {
    throw new RangeError(`${value} is not an IPv${version} address`)
  }
  return version === 4 ? formatIpv4(value) : formatIpv6(value)
}

/** Orders addresses for `sort`: IPv4 before IPv6, then by value. */
export function compareAddresses(a: Address, b: Address): number {
  if (a.version !== b.version) return a.version - b.version
  return a.value < b.value ? -1 : Number(a.value > b.value)
}

const octet = '(0|[1-9]\\d?|1\\d\\d|2[0-4]\\d|25[0-5])'
const dottedQuad = new RegExp(`^${octet}\\.${octet}\\.${octet}\\.${octet}$`)
const hexGroup = /^[0-9a-f]{1,4}$/i

function parseIpv4(text: string): bigint | null {
  const octets = dottedQuad.exec(text)?.slice(1)
  return octets ? BigInt(octets.reduce((value, octet) => value * 256 + Number(octet), 0)) : null
}

function parseIpv6(text: string): bigint | null {
  const [head, tail, ...more] = withoutDottedQuad(text).split('::').map(splitGroups)
  if (!head || more.length > 0) return null
  const groups = [...head, ...(tail ?? [])]
  if (!groups.every(group => hexGroup.test(group))) return null

  const missing = 8 - groups.length
  if (tail ? missing < 1 : missing !== 0) return null // `::` stands for one group or more.
  const zeros = Array<string>(missing).fill('0')
  const all = [...head, ...zeros, ...(tail ?? [])]
  return BigInt(`0x${all.map(group => group.padStart(4, '0')).join('')}`)
}

/** A dotted quad may stand only for the last two groups; rewriting it leaves hexadecimal alone. */
function withoutDottedQuad(text: string): string {
  const start = text.lastIndexOf(':') + 1
  const value = parseIpv4(text.slice(start))
  if (value === null) return text
  return `${text.slice(0, start)}${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`
}

function splitGroups(text: string): string[] {
  return text === '' ? [] : text.split(':')
}

function formatIpv4(value: bigint): string {
  const bits = Number(value)
  return `${bits >>> 24}.${(bits >>> 16) & 255}.${(bits >>> 8) & 255}.${bits & 255}`
}

function formatIpv6(value: bigint): string {
  if (value >> 32n === 0xffffn) return `::ffff:${formatIpv4(value & 0xffff_ffffn)}`
  // PostgreSQL and inet_ntop(3) write IPv4-compatible addresses so, all but the lowest 2^16.
  if (value >> 32n === 0n && value >> 16n !== 0n) return `::${formatIpv4(value)}`
  const hex = value.toString(16).padStart(32, '0')
  const groups = Array.from({ length: 8 }, (_, index) =>
    Number.parseInt(hex.slice(index * 4, index * 4 + 4), 16).toString(16),
  )
  const zeros = longestZeros(groups)
  if (zeros.length < 2) return groups.join(':') // RFC 5952 §4.2.2: one group is not shortened.
  const head = groups.slice(0, zeros.start).join(':')
  const tail = groups.slice(zeros.start + zeros.length).join(':')
  return `${head}::${tail}`
}

/** The longest run of zero groups, and of equal runs the first (RFC 5952 §4.2.3). */
function longestZeros(groups: readonly string[]): { start: number; length: number } {
  let longest = { start: 0, length: 0 }
  let start = 0 // Every group from `start` up to the current one is zero.
  for (const [index, group] of groups.entries()) {
    if (group !== '0') start = index + 1
    else if (index + 1 - start > longest.length) longest = { start, length: index + 1 - start }
  }
  return longest
}
