const spelling =
  /^([0-9a-f]{2}([:-])[0-9a-f]{2}(\2[0-9a-f]{2}){4}|[0-9a-f]{4}(\.[0-9a-f]{4}){2}|[0-9a-f]{12})$/i

/**
 * Reads a MAC address (IEEE EUI-48) as an integer: `00:16:3e:0a:0b:0c`, `00-16-3e-0a-0b-0c`,
 * `0016.3e0a.0b0c` or `00163e0a0b0c`, in letters of either case, and nothing else.
 */
export function parseMac(text: string): bigint | null {
  return spelling.test(text) ? BigInt(`0x${text.replaceAll(/[:.-]/g, '')}`) : null
}

/** Writes a MAC address in its one canonical form, `00:16:3e:0a:0b:0c`, as PostgreSQL does. */
export function formatMac(mac: bigint): string {
  if (BigInt.asUintN(48, mac) !== mac) throw new RangeError(`${mac} is not a MAC address`)
  const digits = mac.toString(16).padStart(12, '0')
  return digits.replaceAll(/..(?!$)/g, '$&:')
}

/** A range of MAC addresses: `first` is its lowest, `length` the number of fixed bits of 48. */
export type MacPrefix = { readonly first: bigint; readonly length: number }

/** Reads `52:54:00:00:00:00/24`, the MAC in any of its spellings; without a length it is one MAC. */
export function parseMacPrefix(
  text: string,
): { readonly prefix: MacPrefix; readonly host_bits: boolean } | null {
  const [mac = '', length = '48', ...more] = text.split('/')
  const value = parseMac(mac)
  if (value === null || more.length > 0 || !/^(0|[1-9]\d?)$/.test(length)) return null
  if (Number(length) > 48) return null
  const host = BigInt.asUintN(48 - Number(length), value)
  return { prefix: { first: value - host, length: Number(length) }, host_bits: host !== 0n }
}

/** Writes a range of MAC addresses as `52:54:00:00:00:00/24`. */
export const formatMacPrefix = ({ first, length }: MacPrefix): string =>
  `${formatMac(first)}/${length}`

/** The highest MAC of a range. */
export const lastMac = ({ first, length }: MacPrefix): bigint =>
  first + (1n << BigInt(48 - length)) - 1n

/** Whether a MAC names a group of stations, and so none (IEEE 802, the I/G bit); or is all zeros. */
export const isGroupMac = (mac: bigint): boolean => (mac >> 40n) % 2n === 1n || mac === 0n
