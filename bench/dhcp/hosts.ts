import { formatAddress, parseAddress } from '../../src/ip/address.ts'
import { segment } from './lab.ts'

/** The MAC of client n. */
export function macOf(client: number): string {
  const number = Number.parseInt(segment.firstMac.replaceAll(':', ''), 16) + client
  const digits = number.toString(16).padStart(12, '0')
  return digits.replace(/..(?=.)/g, '$&:')
}

/** The DUID of client n: one of its link-layer address (RFC 8415 §11.4). */
export const duidOf = (client: number) => `00:03:00:01:${macOf(client)}`

/** The address of client n, where it is known. */
export function addressOf(client: number, version: 4 | 6): string {
  const first = parseAddress(segment[version].hosts)
  if (!first) throw new RangeError('the segment has no first host')
  return formatAddress({ version, value: first.value + BigInt(client) })
}

export const numbers = (count: number) => Array.from({ length: count }, (_, n) => n)
