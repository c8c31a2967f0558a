import { formatAddress, parseAddress } from '../../ip/address.ts'

// What dnsmasq tells its script of leases, and how that comes here.

const fields = [
  'action',
  'client',
  'address',
  'host_name',
  'client_id',
  'iaid',
  'mac',
  'expires',
  'remaining',
  'relay',
  'circuit_id',
  'remote_id',
  'is_stripped',
] as const

/**
 * dnsmasq waits for it at each lease, so it does next to nothing: it adds a record to a file. Values are
 * set apart by zeros, which none of them has, and one write takes all.
 */
export const scriptText = `#!/bin/sh
# Written by Melange: tells it of leases. $1 is what dnsmasq has to say.
case $1 in
init) exec cat "\${0%/*}/leases" ;;
add | old | del) ;;
*) exit 0 ;;
esac
printf '${'%s\\0'.repeat(fields.length)}\\n' "$1" "$2" "$3" "$DNSMASQ_SUPPLIED_HOSTNAME" \\
  "$DNSMASQ_CLIENT_ID" "$DNSMASQ_IAID" "$DNSMASQ_MAC" "$DNSMASQ_LEASE_EXPIRES" \\
  "$DNSMASQ_TIME_REMAINING" "$DNSMASQ_RELAY_ADDRESS" "$DNSMASQ_CIRCUIT_ID" \\
  "$DNSMASQ_REMOTE_ID" "$DNSMASQ_DATA_MISSING" >>"\${0%/*}/events"
`

/** A lease as dnsmasq has it. Times are in seconds since 1970. */
export type LeaseEvent = {
  readonly action: 'add' | 'old' | 'del'
  readonly version: 4 | 6
  readonly address: string
  readonly mac_address: string | null
  readonly client_id: string | null
  readonly duid: string | null
  readonly iaid: number | null
  /** As the client says it. */
  readonly host_name: string | null
  readonly relay: {
    readonly address: string
    readonly circuit_id: string | null
    readonly remote_id: string | null
  } | null
  /** Null for a lease without end. */
  readonly expires: number | null
  /** When it was so; null if that is not known. */
  readonly at: number | null
  /** Whether dnsmasq did not say what it does not keep: name and relay. */
  readonly isStripped: boolean
}

/**
 * The whole records at the beginning of what was read, and how many bytes they take. What is none is
 * passed over up to the end of its line.
 */
export function readEvents(bytes: Buffer): {
  readonly events: LeaseEvent[]
  readonly length: number
} {
  const events: LeaseEvent[] = []
  let start = 0
  for (;;) {
    const end = endOfRecord(bytes, start)
    if (end === null) return { events, length: start }
    const event = readEvent(bytes.subarray(start, end))
    if (event) events.push(event)
    start = end
  }
}

/** Behind so many zeros, and the end of the line. */
function endOfRecord(bytes: Buffer, start: number): number | null {
  let at = start
  for (let count = 0; count < fields.length; count += 1) {
    const zero = bytes.indexOf(0, at)
    if (zero < 0) return null
    at = zero + 1
  }
  if (at >= bytes.length) return null
  if (bytes[at] === lineEnd) return at + 1
  const line = bytes.indexOf(recordEnd, at)
  return line < 0 ? null : line + recordEnd.length
}

const lineEnd = 0x0a
const recordEnd = Buffer.of(0, lineEnd)

function readEvent(record: Buffer): LeaseEvent | null {
  const values = record.subarray(0, -2).toString('latin1').split('\0')
  if (values.length !== fields.length) return null
  const read = Object.fromEntries(fields.map((field, place) => [field, values[place] ?? '']))
  const { action, client = '', iaid = '', mac = '', expires = '', remaining = '' } = read
  const address = parseAddress(read.address ?? '')
  if (!address || (action !== 'add' && action !== 'old' && action !== 'del')) return null
  const is6 = address.version === 6
  const ends = Number(expires)
  const relay = parseAddress(read.relay ?? '')
  return {
    action,
    version: address.version,
    address: formatAddress(address),
    mac_address: macOf(is6 ? mac : client),
    client_id: is6 ? null : hexOf(read.client_id),
    duid: is6 ? hexOf(client) : null,
    iaid: is6 && /^T?\d{1,10}$/.test(iaid) ? Number(iaid.replace('T', '')) : null,
    host_name: nameOf(read.host_name ?? ''),
    relay: relay && {
      address: formatAddress(relay),
      circuit_id: rawHexOf(read.circuit_id),
      remote_id: rawHexOf(read.remote_id),
    },
    expires: ends === 0 ? null : ends,
    at: ends > 0 && remaining !== '' ? ends - Number(remaining) : null,
    isStripped: read.is_stripped === '1',
  }
}

const macOf = (text: string) => (/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(text) ? text : null)

const hexOf = (text = '') =>
  /^[0-9a-f]{2}(:[0-9a-f]{2})*$/.test(text) ? text.replaceAll(':', '') : null

const rawHexOf = (text = '') => (text === '' ? null : Buffer.from(text, 'latin1').toString('hex'))

function nameOf(text: string): string | null {
  const name = Buffer.from(text, 'latin1')
    .toString('utf8')
    .replaceAll(/\p{C}|�/gu, '')
  return name === '' ? null : name.slice(0, 255)
}

/** A lease as dnsmasq reads it at its start. */
export function leaseLine(lease: LeaseEvent): string {
  const pairs = (hex: string | null) => (hex?.match(/../g) ?? ['*']).join(':')
  const { address, expires, mac_address, client_id, iaid, duid } = lease
  return lease.version === 4
    ? `${expires ?? 0} ${mac_address ?? '00-'} ${address} * ${pairs(client_id)}`
    : `${expires ?? 0} ${iaid ?? 0} ${address} * ${pairs(duid)}`
}
