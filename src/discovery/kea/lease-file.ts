import type { LeaseRelay } from '../../dhcp/served.ts'
import { formatAddress, type IpVersion, parseAddress } from '../../ip/address.ts'

/** A row of Kea's lease file (memfile): a lease as it is from then on. Names are hex, as served. */
export type LeaseRow = {
  readonly subnet_id: number
  readonly address: string
  /** Of a delegated prefix its length; else null. */
  readonly prefix_length: number | null
  readonly mac_address: string | null
  readonly client_id: string | null
  readonly duid: string | null
  readonly iaid: number | null
  readonly host_name: string | null
  /** Kea keeps the address of a relay in DHCPv6 only. */
  readonly relay: (Omit<LeaseRelay, 'address'> & { readonly address: string | null }) | null
  /** `gone`: removed or reclaimed. */
  readonly state: 'bound' | 'declined' | 'gone'
  /** When the machine was told, and until when; in milliseconds since 1970. */
  readonly at: number
  readonly ends_at: number | null
}

const forever = 0xffffffff

/** Reads rows of a lease file, of which the first names the columns. */
export function createLeaseReader(version: IpVersion): (line: string) => LeaseRow | null {
  let columns = columnsOf[version]
  return line => {
    const values = line.split(',')
    if (values[0] === 'address') {
      columns = values
      return null
    }
    const row: Record<string, string> = {}
    columns.forEach((name, index) => {
      row[name] = values[index] ?? ''
    })
    return readRow(version, row)
  }
}

/** Those of Kea 2.2, for whoever begins in the middle of a file. */
const columnsOf: Readonly<Record<IpVersion, readonly string[]>> = {
  4: 'address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context'.split(
    ',',
  ),
  6: 'address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,hostname,hwaddr,state,user_context,hwtype,hwaddr_source'.split(
    ',',
  ),
}

function readRow(version: IpVersion, row: Record<string, string>): LeaseRow | null {
  const address = parseAddress(row.address ?? '')
  const [lifetime, expire] = [Number(row.valid_lifetime), Number(row.expire)]
  if (address?.version !== version || !Number.isFinite(lifetime + expire)) return null
  const isPrefix = version === 6 && row.lease_type === '2'
  const isBound = row.state === '0' && lifetime > 0
  const told = expire - lifetime
  const context = readContext(row.user_context ?? '')
  return {
    subnet_id: Number(row.subnet_id),
    address: formatAddress(address),
    prefix_length: isPrefix ? Number(row.prefix_len) : null,
    mac_address: readMac(row.hwaddr),
    client_id: readHex(row.client_id),
    duid: readHex(row.duid),
    iaid: version === 6 ? Number(row.iaid) : null,
    host_name: row.hostname ? plainText(row.hostname).replace(/\.$/, '') || null : null,
    relay: version === 6 ? readRelay6(context) : readRelay4(context),
    state: isBound ? 'bound' : row.state === '1' && lifetime > 0 ? 'declined' : 'gone',
    at: told * 1000,
    ends_at: lifetime === forever ? null : expire * 1000,
  }
}

const readHex = (text: string | undefined): string | null => {
  const hex = (text ?? '').replaceAll(':', '').toLowerCase()
  // A DUID of one zero is Kea's for none.
  return /^([0-9a-f]{2})+$/.test(hex) && hex !== '00' && hex !== '000000' ? hex : null
}

const readMac = (text: string | undefined): string | null =>
  /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text ?? '') ? String(text).toLowerCase() : null

/** Kea writes a comma in a value as `&#x2c`. */
const plainText = (text: string) =>
  text.replace(/&#x([0-9a-f]{2});?/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )

type Context = { readonly ISC?: Readonly<Record<string, unknown>> }

function readContext(text: string): Context {
  if (text === '') return {}
  try {
    return JSON.parse(plainText(text)) as Context
  } catch {
    return {}
  }
}

/** What the relay that is the nearest to the client said: the last of Kea's list. */
function readRelay6({ ISC }: Context): LeaseRelay | null {
  const relays = ISC?.relays ?? (ISC?.['relay-info'] as unknown)
  if (!Array.isArray(relays) || relays.length === 0) return null
  const nearest = relays.at(-1) as { readonly link?: string; readonly options?: string }
  const options = readOptions(Buffer.from((nearest.options ?? '').replace(/^0x/, ''), 'hex'), 2)
  const link = parseAddress(nearest.link ?? '')
  return {
    address: link ? formatAddress(link) : '::',
    circuit_id: options.get(interfaceId) ?? null,
    remote_id: options.get(remoteId6) ?? null,
  }
}

/** RFC 8415 §21.18, RFC 4649 §3; RFC 3046 §2. */
const interfaceId = 18
const remoteId6 = 37
const circuitId = 1
const remoteId4 = 2

/** Options by code as hex; `width` is how many bytes code and length have each. */
function readOptions(bytes: Buffer, width: 1 | 2): Map<number, string> {
  const options = new Map<number, string>()
  for (let place = 0; place + 2 * width <= bytes.length; ) {
    const length = bytes.readUIntBE(place + width, width)
    const start = place + 2 * width
    if (start + length > bytes.length) break
    if (length > 0 && length <= 255) {
      options.set(bytes.readUIntBE(place, width), bytes.toString('hex', start, start + length))
    }
    place = start + length
  }
  return options
}

function readRelay4({ ISC }: Context): LeaseRow['relay'] {
  const said = ISC?.['relay-agent-info']
  const hex = typeof said === 'string' ? said : (said as { options?: string } | undefined)?.options
  if (hex === undefined) return null
  const options = readOptions(Buffer.from(hex.replace(/^0x/, ''), 'hex'), 1)
  return {
    address: null,
    circuit_id: options.get(circuitId) ?? null,
    remote_id: options.get(remoteId4) ?? null,
  }
}
