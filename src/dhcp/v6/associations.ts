import { decodeOptions, type Option, optionCodes } from './codec.ts'

// Identity associations and what they hold (RFC 8415 §21.4 to §21.6, §21.21, §21.22).

/** What a client asks for under one identifier: addresses, temporary addresses or prefixes. */
export type Association = {
  /** `iaNa`, `iaTa` or `iaPd` of `optionCodes`. */
  readonly code: number
  readonly iaid: number
  /**
   * The addresses or prefixes that the client names, as `leaseKey` has them. The unspecified address
   * names none: with a length it is a wish for prefixes of that size (RFC 8415 §18.2.1).
   */
  readonly named: readonly string[]
}

/** How many associations a message has, and how many addresses and prefixes one of them names. */
export const associationsMax = 32
export const namedMax = 64

const addressBytes = 24
const prefixBytes = 25

/** An address, or a prefix behind its length, as text to compare: each character is a byte. */
const leaseKey = (bytes: Buffer, start: number, end: number) => bytes.toString('latin1', start, end)

export const addressKey = (address: Buffer): string => leaseKey(address, 0, 16)
export const prefixKey = (prefix: Buffer, length: number): string =>
  String.fromCharCode(length) + leaseKey(prefix, 0, 16)

/** The bytes of an address that is named. */
export const addressOfKey = (key: string): Buffer => Buffer.from(key, 'latin1')

/** Whether there is `::` at a place (RFC 4291 §2.5.2). */
export const isUnspecified = (bytes: Buffer, start: number): boolean =>
  bytes.readBigUInt64BE(start) === 0n && bytes.readBigUInt64BE(start + 8) === 0n

/** The association that an option is; null for bytes that are none, or that name too much. */
export function decodeAssociation({ code, data }: Option): Association | null {
  const start = code === optionCodes.iaTa ? 4 : 12
  if (data.length < start) return null
  const iaid = data.readUInt32BE(0)
  const options = decodeOptions(data, start)
  if ('malformed' in options) return null
  const wanted = code === optionCodes.iaPd ? optionCodes.iaPrefix : optionCodes.iaAddress
  const named: string[] = []
  for (const { code: inner, data: lease } of options) {
    if (inner !== wanted) continue
    if (named.length === namedMax) return null
    if (inner === optionCodes.iaAddress) {
      if (lease.length < addressBytes) return null
      if (!isUnspecified(lease, 0)) named.push(leaseKey(lease, 0, 16))
    } else {
      if (lease.length < prefixBytes || lease.readUInt8(8) > 128) return null
      if (!isUnspecified(lease, 9)) named.push(leaseKey(lease, 8, prefixBytes))
    }
  }
  return { code, iaid, named }
}

/** What an association is answered with: leases with their lifetimes in seconds, or a status. */
export type Granted = { readonly key: string; readonly preferred: number; readonly valid: number }

/**
 * An association as an option of an answer. T1 and T2 are zero until `setTimes` sets them, once the
 * lifetimes of all associations are known.
 */
export function encodeAssociation(
  { code, iaid }: Association,
  leases: readonly Granted[],
  status: Option | null,
): Option {
  const isPrefix = code === optionCodes.iaPd
  const start = code === optionCodes.iaTa ? 4 : 12
  const size = 4 + (isPrefix ? prefixBytes : addressBytes)
  const statusBytes = status ? 4 + status.data.length : 0
  const data = Buffer.alloc(start + size * leases.length + statusBytes)
  data.writeUInt32BE(iaid, 0)
  let at = start
  for (const { key, preferred, valid } of leases) {
    data.writeUInt16BE(isPrefix ? optionCodes.iaPrefix : optionCodes.iaAddress, at)
    data.writeUInt16BE(size - 4, at + 2)
    const times = isPrefix ? at + 4 : at + 20
    data.write(key, isPrefix ? at + 12 : at + 4, 'latin1')
    data.writeUInt32BE(preferred, times)
    data.writeUInt32BE(valid, times + 4)
    at += size
  }
  if (status) {
    data.writeUInt16BE(status.code, at)
    data.writeUInt16BE(status.data.length, at + 2)
    status.data.copy(data, at + 4)
  }
  return { code, data }
}

/** For ever (RFC 8415 §7.7). */
export const infinity = 0xffff_ffff

/**
 * Sets when the client is to ask again: T1 at 0.5 and T2 at 0.8 of the shortest preferred lifetime
 * (RFC 8415 §21.4, §21.21). They are the same in all associations of an answer (§18.3.2), so that
 * the client renews them all at once.
 */
export function setTimes({ data }: Option, shortest: number): void {
  data.writeUInt32BE(shortest === infinity ? infinity : Math.floor(shortest / 2), 4)
  data.writeUInt32BE(shortest === infinity ? infinity : Math.floor((shortest * 4) / 5), 8)
}
