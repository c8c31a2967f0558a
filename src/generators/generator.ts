import { addressBits } from '../ip/address.ts'
import type { Prefix } from '../ip/prefix.ts'

/** What the IPv6 address of an interface can be made of. */
export type GeneratorInput = {
  readonly project_id: string
  readonly mac_address: bigint | null
  /** A name of the interface that stays the same for as long as its addresses shall. */
  readonly interface_id: string | null
  readonly network_id: string | null
  /** Of the policy. */
  readonly secret: string | null
}

/** Makes IPv6 addresses of an interface instead of taking the next free one. */
export type AddressGenerator = {
  readonly name: string
  /** What has to be there: without one of these there are no candidates. */
  readonly needs: readonly ('mac_address' | 'interface_id' | 'secret')[]
  /**
   * Addresses in an IPv6 prefix, best first, each once, and not more than `candidatesMax`. The same
   * input always gives the same ones; whether they are free is for the caller to see. There are
   * none in IPv4.
   */
  candidates(input: GeneratorInput, prefix: Prefix): Iterable<bigint>
}

/** How many candidates a generator may give. */
export const candidatesMax = 16

/** What a generator needs and the input has not. */
export function missingInputs({ needs }: Pick<AddressGenerator, 'needs'>, input: GeneratorInput) {
  return needs.filter(name => input[name] === null)
}

/**
 * The address of an interface identifier in a prefix. Identifiers have 64 bits (RFC 4291 §2.5.1):
 * of a shorter prefix this is an address of its first /64; for a longer one the lowest bits remain.
 */
export function addressOf(prefix: Prefix, interfaceId: bigint): bigint {
  const hostBits = addressBits(prefix.version) - prefix.length
  return prefix.first | BigInt.asUintN(hostBits, interfaceId)
}
