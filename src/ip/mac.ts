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
