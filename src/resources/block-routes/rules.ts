import { IpamError } from '../../errors.ts'
import { canonicalPrefix, readAddress, readPrefix } from '../../fields.ts'
import { formatAddress, type IpVersion } from '../../ip/address.ts'
import { prefixHolds } from '../../ip/prefix.ts'

const multicast = {
  4: readPrefix('224.0.0.0/4', ''),
  6: readPrefix('ff00::/8', ''),
}
/** Addresses that lead nowhere, or to everyone. */
const nowhere: readonly string[] = ['255.255.255.255', '::']

/**
 * A destination in its canonical form, of the IP version of the block.
 *
 * @throws {IpamError} `invalid_request`, `cidr_has_host_bits`
 */
export function readDestination(text: string, version: IpVersion): string {
  const destination = readPrefix(text, 'destination')
  if (destination.version !== version) throw otherVersion('destination', version)
  return canonicalPrefix(text, 'destination')
}

/**
 * A next hop in its canonical form: one machine, of the IP version of the block. It need not lie in
 * the block, for a network may have several, and routers in IPv6 have link-local addresses.
 *
 * @throws {IpamError} `invalid_request`
 */
export function readGateway(text: string, version: IpVersion): string {
  const gateway = readAddress(text, 'gateway')
  if (gateway.version !== version) throw otherVersion('gateway', version)
  const canonical = formatAddress(gateway)
  if (nowhere.includes(canonical) || prefixHolds(multicast[version], gateway)) {
    const detail = `gateway: ${canonical} is not the address of one machine`
    throw new IpamError('invalid_request', detail, { field: 'gateway' })
  }
  return canonical
}

const otherVersion = (field: string, version: IpVersion) =>
  new IpamError('invalid_request', `${field}: must be IPv${version}, as the block is`, { field })
