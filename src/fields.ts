import { IpamError } from './errors.ts'
import { type Address, formatAddress, parseAddress } from './ip/address.ts'
import { formatPrefix, type Prefix, parsePrefix } from './ip/prefix.ts'

/**
 * The address that a member of a request names.
 *
 * @throws {IpamError} `invalid_request`, naming the field
 */
export function readAddress(text: string, field: string): Address {
  const address = parseAddress(text)
  if (address) return address
  throw new IpamError('invalid_request', `${field}: "${text}" is not an IPv4 or IPv6 address`, {
    field,
  })
}

/**
 * The prefix that a member of a request names. Host bits are refused with the network they are in.
 *
 * @throws {IpamError} `invalid_request`, `cidr_has_host_bits`, naming the field
 */
export function readPrefix(text: string, field: string): Prefix {
  const parsed = parsePrefix(text)
  if (!parsed) {
    const detail = `${field}: "${text}" is not a CIDR such as 192.0.2.0/24 or 2001:db8::/64`
    throw new IpamError('invalid_request', detail, { field })
  }
  if (parsed.host_bits) {
    const suggestion = formatPrefix(parsed.prefix)
    const detail = `${field}: ${text} has host bits set; its network is ${suggestion}`
    throw new IpamError('cidr_has_host_bits', detail, { field, suggestion })
  }
  return parsed.prefix
}

/** Whether a text is an address. */
export const isAddress = (text: string): boolean => parseAddress(text) !== null
/** Whether a text is an address, or a CIDR without host bits. */
export const isAddressOrCidr = (text: string): boolean =>
  isAddress(text) || parsePrefix(text)?.host_bits === false

/** An address in the one spelling that answers use (RFC 5952 for IPv6). */
export const canonicalAddress = (text: string, field: string): string =>
  formatAddress(readAddress(text, field))

/** A CIDR in the one spelling that answers use. */
export const canonicalPrefix = (text: string, field: string): string =>
  formatPrefix(readPrefix(text, field))

/**
 * A time that a member of a request names, in RFC 3339 with up to six digits of a second.
 *
 * @throws {IpamError} `invalid_request`
 */
export function readTime(text: string, field: string): string {
  const [, year, month, day] =
    /^(\d{4})-(\d\d)-(\d\d)[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)$/.exec(text) ?? []
  // JavaScript takes 30 February for 2 March.
  const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)))
  const isTime =
    date.getUTCDate() === Number(day) && !Number.isNaN(Date.parse(text.replace(' ', 'T')))
  if (isTime) return text
  const detail = `${field}: "${text}" is not a time such as 2026-01-31T12:00:00Z`
  throw new IpamError('invalid_request', detail, { field })
}
