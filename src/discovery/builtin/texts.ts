// Names and addresses as the engines have them, and as text.

/** An IPv4 address that is known to be one, as a number. */
export function numberOfAddress(text: string): number {
  let value = 0
  let octet = 0
  for (let place = 0; place < text.length; place += 1) {
    const code = text.charCodeAt(place)
    if (code === 46) {
      value = value * 256 + octet
      octet = 0
    } else octet = octet * 10 + code - 48
  }
  return value * 256 + octet
}

export const textOfAddress = (address: number): string =>
  `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`

/** `52:54:00:00:00:01` as 48 bits. */
export const numberOfMac = (text: string): number => Number.parseInt(text.replaceAll(':', ''), 16)

const pairs = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))
const pairAt = (value: number, power: number) => pairs[Math.floor(value / power) % 256]

export const textOfMac = (mac: number): string =>
  `${pairAt(mac, 2 ** 40)}:${pairAt(mac, 2 ** 32)}:${pairAt(mac, 2 ** 24)}:${pairAt(mac, 2 ** 16)}:${pairAt(mac, 256)}:${pairAt(mac, 1)}`

/** Bytes as hex; null for none, and for more than `bytes_max`. */
export function hexOf(bytes: Uint8Array | undefined, bytes_max: number): string | null {
  if (!bytes || bytes.length === 0 || bytes.length > bytes_max) return null
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')
}

/** The bytes of a circuit id as configurations have it: text, or hex behind 0x. */
export const circuitBytes = (text: string): Buffer =>
  text.startsWith('0x') ? Buffer.from(text.slice(2), 'hex') : Buffer.from(text)

/** A time of the API in milliseconds since 1970. */
export const timeOf = (text: string | null): number | null =>
  text === null ? null : Date.parse(text)
