import { createHmac } from 'node:crypto'
import { formatPrefix, type Prefix } from '../ip/prefix.ts'
import { type AddressGenerator, addressOf, type GeneratorInput } from './generator.ts'

/** How often RFC 7217 §6 tries again (IDGEN_RETRIES). */
const retriesMax = 3

/**
 * Interface identifiers that no host may take (RFC 5453 and its registry): the anycast addresses of
 * the routers (RFC 4291 §2.6.1) and of a subnet (RFC 2526 §2), and those of IANA's own MACs (RFC
 * 4291, RFC 6543).
 */
const reserved = [
  { first: 0n, last: 0n },
  { first: 0x0200_5eff_fe00_0000n, last: 0x0200_5eff_feff_ffffn },
  { first: 0xfdff_ffff_ffff_ff80n, last: 0xfdff_ffff_ffff_ffffn },
]

/**
 * Whether an interface identifier is reserved. Of those in prefixes longer than 64 bits only the
 * routers' anycast address is, which a /127 has not (RFC 6164).
 */
export function isReserved(interfaceId: bigint, prefix: Prefix): boolean {
  if (prefix.length <= 64) {
    return reserved.some(({ first, last }) => first <= interfaceId && interfaceId <= last)
  }
  return prefix.length < 127 && addressOf(prefix, interfaceId) === prefix.first
}

/**
 * Addresses that stay the same on a network and tell nothing elsewhere (RFC 7217 §5). The prefix is
 * part of what is hashed: in another block the interface has another identifier. The identifier
 * has 64 bits; of a longer prefix it has those that are left, as the RFC allows.
 */
export const stablePrivate: AddressGenerator = {
  name: 'stable_private',
  needs: ['interface_id', 'secret'],
  *candidates(input, prefix) {
    const given = new Set<bigint>() // In a tiny prefix two counters may give the same address.
    for (let counter = 0; counter <= retriesMax; counter++) {
      const address = candidate(input, prefix, counter)
      if (address === null || given.has(address)) continue
      given.add(address)
      yield address
    }
  },
}

function candidate(
  { interface_id, network_id, secret }: GeneratorInput,
  prefix: Prefix,
  dadCounter: number,
): bigint | null {
  if (interface_id === null || secret === null || prefix.version !== 6) return null
  // As JSON, so that no two inputs make the same text.
  const text = JSON.stringify([formatPrefix(prefix), interface_id, network_id, dadCounter])
  const random = createHmac('sha256', secret).update(text).digest()
  const interfaceId = random.readBigUInt64BE(random.length - 8) // The least significant bits.
  return isReserved(interfaceId, prefix) ? null : addressOf(prefix, interfaceId)
}
