import { IpamError } from '../../errors.ts'
import {
  formatMac,
  formatMacPrefix,
  isGroupMac,
  lastMac,
  type MacPrefix,
  parseMac,
  parseMacPrefix,
} from '../../ip/mac.ts'

/**
 * The MAC address that a member of a request names, as a number.
 *
 * @throws {IpamError} `invalid_request`, naming the field
 */
export function readMac(text: string, field: string): bigint {
  const mac = parseMac(text)
  if (mac !== null) return mac
  throw new IpamError('invalid_request', `${field}: "${text}" is not a MAC address`, { field })
}

/**
 * The same of an interface: not that of a group of stations.
 *
 * @throws {IpamError} `invalid_request`, naming the field
 */
export function readUnicastMac(text: string, field: string): bigint {
  const mac = readMac(text, field)
  if (!isGroupMac(mac)) return mac
  const detail = `${field}: ${formatMac(mac)} is no address of an interface`
  throw new IpamError('invalid_request', detail, { field })
}

const lengthMin = 8

/**
 * The range that a request names.
 *
 * @throws {IpamError} `invalid_request`, `cidr_has_host_bits`, naming the field
 */
export function readMacPrefix(text: string, field: string): MacPrefix {
  const parsed = parseMacPrefix(text)
  if (!parsed || parsed.prefix.length < lengthMin) {
    const detail = `${field}: "${text}" is not a range such as 52:54:00:00:00:00/24`
    throw new IpamError('invalid_request', detail, { field })
  }
  if (parsed.host_bits) {
    const suggestion = formatMacPrefix(parsed.prefix)
    const detail = `${field}: ${text} has bits set beyond its length; its range is ${suggestion}`
    throw new IpamError('cidr_has_host_bits', detail, { field, suggestion })
  }
  return parsed.prefix
}

/**
 * The range of interfaces that a request names: no addresses of groups.
 *
 * @throws {IpamError} `invalid_request`, `cidr_has_host_bits`, naming the field
 */
export function readUnicastRange(text: string): MacPrefix {
  const prefix = readMacPrefix(text, 'prefix')
  if ((prefix.first >> 40n) % 2n === 0n) return prefix
  const detail = `prefix: ${text} are addresses of groups (the lowest bit of the first octet is set)`
  throw new IpamError('invalid_request', detail, { field: 'prefix' })
}

/**
 * What is forbidden of a range, each in its one spelling, in their order.
 *
 * @throws {IpamError} `invalid_request`, `cidr_has_host_bits`, naming the field
 */
export function readForbidden(texts: readonly string[], range: MacPrefix): string[] {
  const prefixes = texts.map(text => readMacPrefix(text, 'forbidden'))
  const outside = prefixes.find(
    prefix => prefix.first < range.first || lastMac(prefix) > lastMac(range),
  )
  if (outside) {
    const detail = `forbidden: ${formatMacPrefix(outside)} is not inside ${formatMacPrefix(range)}`
    throw new IpamError('invalid_request', detail, { field: 'forbidden' })
  }
  return [...new Set(prefixes.map(formatMacPrefix))].toSorted()
}
