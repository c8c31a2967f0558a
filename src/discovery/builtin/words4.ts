import type { LeaseRelay } from '../../dhcp/served.ts'
import type { Client } from '../../dhcp/v4/answer.ts'
import type { Message } from '../../dhcp/v4/codec.ts'
import { codes } from '../../dhcp/v4/codes.ts'
import { readSubOptions, subOptions } from '../../dhcp/v4/relay-information.ts'
import type { ClientNames } from '../driver.ts'
import { hexOf, textOfAddress, textOfMac } from './texts.ts'

// What clients and relays say of themselves by DHCPv4, for those who read of leases.

export const namesOf = ({ mac, client_id }: Client): ClientNames => ({
  mac_address: mac === null ? null : textOfMac(mac),
  client_id: hexOf(client_id, 255),
  duid: null,
  iaid: null,
})

/** What a client calls its machine: option 12, or the first label of option 81 (RFC 4702). */
export function hostNameOf({ options }: Message): string | null {
  const name = options.get(codes.hostName)
  if (name) return printable(name)
  const fqdn = options.get(codes.clientFqdn)
  return fqdn ? firstLabel(fqdn) : null
}

const fqdnHeader = 3
/** The flag that says that the name comes as labels, and not as text (RFC 4702 §2.1). */
const isEncoded = 0x04

function firstLabel(fqdn: Uint8Array): string | null {
  const name = fqdn.subarray(fqdnHeader)
  if (((fqdn[0] ?? 0) & isEncoded) !== 0) return printable(name.subarray(1, 1 + (name[0] ?? 0)))
  const dot = name.indexOf(46)
  return printable(dot < 0 ? name : name.subarray(0, dot))
}

/** Bytes as text, if all are printable ASCII; a zero may end it (RFC 2132 §2). */
export function printable(bytes: Uint8Array): string | null {
  let end = bytes.length
  while (end > 0 && bytes[end - 1] === 0) end -= 1
  if (end === 0 || end > 255) return null
  for (let place = 0; place < end; place += 1) {
    const byte = bytes[place] ?? 0
    if (byte < 0x21 || byte > 0x7e) return null
  }
  return Buffer.from(bytes.buffer, bytes.byteOffset, end).toString('latin1')
}

/** Through which relay a client was heard. */
export function relayOf({ giaddr, options }: Message): LeaseRelay | null {
  if (giaddr === 0) return null
  const information = options.get(codes.relayInformation)
  const said = information ? readSubOptions(information) : null
  return {
    address: textOfAddress(giaddr),
    circuit_id: hexOf(said?.get(subOptions.circuitId), 255),
    remote_id: hexOf(said?.get(subOptions.remoteId), 255),
  }
}
