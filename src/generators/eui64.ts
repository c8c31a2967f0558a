import { macBasedGenerator } from './mac-based.ts'

/**
 * The modified EUI-64 of a MAC (RFC 4291 appendix A, RFC 2464 §4): `ff:fe` in the middle, and the
 * universal/local bit inverted.
 */
export function modifiedEui64(mac: bigint): bigint {
  const eui64 = ((mac >> 24n) << 40n) | 0xff_fe00_0000n | (mac & 0xff_ffffn)
  return eui64 ^ (1n << 57n)
}

/**
 * The address that a host gives itself by stateless configuration (RFC 4862 §5.5.3), for prefixes
 * of 64 bits. This is also the `rfc2462_generator` of the original Melange, which defines the rest:
 * the identifier is cut to what a longer prefix leaves of it, in a shorter prefix the bits between
 * are zero, and if the address is taken the MAC after this one is tried.
 */
export const eui64 = macBasedGenerator('eui64', (_, mac) => modifiedEui64(mac))
