import { type Prefix, prefixSize } from '../ip/prefix.ts'
import type { GeneratorInput } from './generator.ts'
import { type AddressGenerator, addressOf, candidatesMax } from './generator.ts'

/**
 * A generator that makes the interface identifier of the MAC. If the address is taken, then the
 * next MAC is tried and so on, as both generators of the original Melange do; after the last MAC
 * comes the first.
 */
export function macBasedGenerator(
  name: string,
  interfaceIdOf: (input: GeneratorInput, mac: bigint) => bigint,
): AddressGenerator {
  function* candidates(input: GeneratorInput, prefix: Prefix) {
    if (input.mac_address === null || prefix.version !== 6) return
    const size = prefixSize(prefix)
    const count = size < candidatesMax ? size : BigInt(candidatesMax)
    for (let n = 0n; n < count; n++) {
      const mac = BigInt.asUintN(48, input.mac_address + n)
      yield addressOf(prefix, interfaceIdOf(input, mac))
    }
  }
  return { name, needs: ['mac_address'], candidates }
}
