import { IpamError } from '../errors.ts'
import { readAddress, readPrefix } from '../fields.ts'
import { addressBits, formatAddress, type IpVersion, parseAddress } from '../ip/address.ts'
import { formatPrefix, parsePrefix, prefixHolds } from '../ip/prefix.ts'
import {
  canonicalDomain,
  decodeDomains,
  encodeDomain,
  encodeDomains,
  encodeSearchList,
} from './domain-names.ts'
import type { OptionDefinition, OptionTypeName } from './options.ts'

// The value of an option as requests and answers write it (JSON), and its bytes on the wire.

/** How many items a list has, and how many bytes all of a value may take. */
export const itemsMax = 128
export const bytesMax = 1024

/** A type of values. `read` checks what came and gives its canonical form. */
type OptionType<V> = {
  read(value: unknown, field: string, option: OptionDefinition): V
  /** The bytes of each option that says so, without code and length; mostly it is one. */
  encode(value: V, option: OptionDefinition): Buffer[]
  /** A value as JSON, still to be read; undefined for bytes that are none. */
  decode(bytes: Buffer, option: OptionDefinition, instances: readonly Buffer[]): unknown
}

function refuse(field: string, detail: string): never {
  throw new IpamError('invalid_request', `${field}: ${detail}`, { field })
}

function readText(value: unknown, field: string): string {
  return typeof value === 'string' && value !== '' ? value : refuse(field, 'must be a text')
}

function readList<V>(value: unknown, field: string, one: (item: unknown, field: string) => V): V[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > itemsMax) {
    refuse(field, `must be a list of 1 to ${itemsMax} items`)
  }
  return value.map((item, index) => one(item, `${field}/${index}`))
}

/** The members of an object that has these and no others. */
function readMembers(value: unknown, field: string, names: readonly string[]) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    refuse(field, `must be an object with ${names.join(' and ')}`)
  }
  const unknown = Object.keys(value).find(name => !names.includes(name))
  if (unknown !== undefined) refuse(`${field}/${unknown}`, 'is not a known member')
  return value as Readonly<Record<string, unknown>>
}

function readOne(value: unknown, field: string, { version }: OptionDefinition): string {
  const address = readAddress(readText(value, field), field)
  return address.version === version
    ? formatAddress(address)
    : refuse(field, `must be an IPv${version} address`)
}

function readDomain(value: unknown, field: string): string {
  const domain = canonicalDomain(readText(value, field))
  return domain ?? refuse(field, `"${value}" is not a domain name such as example.com`)
}

function encodeAddress(text: string): Buffer {
  const address = parseAddress(text)
  if (!address) throw new RangeError(`not an address: ${text}`)
  const digits = addressBits(address.version) / 4
  return Buffer.from(address.value.toString(16).padStart(digits, '0'), 'hex')
}

const sizeOf = (version: IpVersion) => addressBits(version) / 8

function decodeAddresses(bytes: Buffer, version: IpVersion): string[] | undefined {
  const size = sizeOf(version)
  if (bytes.length === 0 || bytes.length % size > 0) return undefined
  return Array.from({ length: bytes.length / size }, (_, index) => {
    const value = BigInt(`0x${bytes.toString('hex', index * size, (index + 1) * size)}`)
    return formatAddress({ version, value })
  })
}

function integer(width: 1 | 2 | 4, isSigned = false): OptionType<number> {
  const values = 2 ** (8 * width)
  const [lowest, highest] = isSigned ? [-values / 2, values / 2 - 1] : [0, values - 1]
  return {
    read(value, field, { min = lowest, max = highest }) {
      if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) {
        return value + 0 // JSON has -0, and jsonb has not.
      }
      return refuse(field, `must be an integer from ${min} to ${max}`)
    },
    encode(value) {
      const bytes = Buffer.alloc(width)
      bytes.writeUIntBE(value < 0 ? value + values : value, 0, width)
      return [bytes]
    },
    decode(bytes) {
      if (bytes.length !== width) return undefined
      return isSigned ? bytes.readIntBE(0, width) : bytes.readUIntBE(0, width)
    },
  }
}

const uint16 = integer(2)

/** Text, in UTF-8, which is ASCII where that is asked for. */
const string: OptionType<string> = {
  read(value, field) {
    const text = readText(value, field)
    return /\p{Cc}/u.test(text) ? refuse(field, 'must not have control characters') : text
  },
  encode: value => [Buffer.from(value)],
  // Some end it with a NUL (RFC 2132 §2).
  decode: bytes => bytes.toString('utf8').replace(/\0+$/, ''),
}

type Route = { readonly destination: string; readonly gateway: string }

/** Destinations by as many bytes as their length needs, each with its router (RFC 3442). */
const routes: OptionType<Route[]> = {
  read(value, field, option) {
    const seen = new Set<string>()
    return readList(value, field, (item, at) => {
      const members = readMembers(item, at, ['destination', 'gateway'])
      const text = readText(members.destination, `${at}/destination`)
      const prefix = readPrefix(text, `${at}/destination`)
      const destination = formatPrefix(prefix)
      if (prefix.version !== 4) refuse(`${at}/destination`, 'must be an IPv4 CIDR')
      if (seen.has(destination)) refuse(`${at}/destination`, `${destination} is there twice`)
      seen.add(destination)
      return { destination, gateway: readOne(members.gateway, `${at}/gateway`, option) }
    })
  },
  encode(value) {
    const parts = value.flatMap(({ destination, gateway }) => {
      const [address = '', length] = destination.split('/')
      const significant = encodeAddress(address).subarray(0, Math.ceil(Number(length) / 8))
      return [Buffer.of(Number(length)), significant, encodeAddress(gateway)]
    })
    return [Buffer.concat(parts)]
  },
  decode(bytes) {
    const found: Route[] = []
    for (let at = 0; at < bytes.length; ) {
      const length = bytes[at] ?? 0
      const significant = Math.ceil(length / 8)
      const end = at + 1 + significant + 4
      if (length > 32 || end > bytes.length) return undefined
      const full = Buffer.alloc(4)
      bytes.copy(full, 0, at + 1, at + 1 + significant)
      // Bits behind the length are to be passed over.
      const prefix = parsePrefix(`${full.join('.')}/${length}`)?.prefix
      const [gateway = ''] = decodeAddresses(bytes.subarray(end - 4, end), 4) ?? []
      if (prefix) found.push({ destination: formatPrefix(prefix), gateway })
      at = end
    }
    return found
  },
}

/** Pairs of addresses, whose members the option names (RFC 2132 §4.3, §5.8). */
const pairs: OptionType<Readonly<Record<string, string>>[]> = {
  read(value, field, option) {
    const { members: names = ['first', 'second'] } = option
    return readList(value, field, (item, at) => {
      const given = readMembers(item, at, names)
      const read = names.map(name => [name, readOne(given[name], `${at}/${name}`, option)])
      const pair: Record<string, string> = Object.fromEntries(read)
      if (pair.destination === '0.0.0.0') refuse(`${at}/destination`, 'is the default route')
      return pair
    })
  },
  encode: (value, { members = [] }) => [
    Buffer.concat(value.flatMap(pair => members.map(name => encodeAddress(pair[name] ?? '')))),
  ],
  decode(bytes, { members = ['first', 'second'] }) {
    const found = decodeAddresses(bytes, 4)
    if (!found || found.length % 2 > 0) return undefined
    return Array.from({ length: found.length / 2 }, (_, index) =>
      Object.fromEntries(members.map((name, place) => [name, found[2 * index + place]])),
    )
  },
}

/** Texts, each behind its length (RFC 5970 §3.2). */
const strings: OptionType<string[]> = {
  read: (value, field, option) =>
    readList(value, field, (item, at) => string.read(item, at, option)),
  encode: value => [
    Buffer.concat(
      value.map(Buffer.from).flatMap(bytes => [Buffer.of(bytes.length >> 8, bytes.length), bytes]),
    ),
  ],
  decode(bytes) {
    const found: string[] = []
    for (let at = 0; at < bytes.length; ) {
      const end = at + 2 + (at + 2 <= bytes.length ? bytes.readUInt16BE(at) : bytes.length)
      if (end > bytes.length) return undefined
      found.push(bytes.toString('utf8', at + 2, end))
      at = end
    }
    return found
  },
}

/** All addresses, or all domain names, told apart by the first byte (RFC 3361 §3). */
const sipServers: OptionType<string[]> = {
  read(value, field, option) {
    const areAddresses = Array.isArray(value) && parseAddress(String(value[0])) !== null
    return readList(value, field, (item, at) =>
      areAddresses ? readOne(item, at, option) : readDomain(item, at),
    )
  },
  encode: value => [
    parseAddress(value[0] ?? '')
      ? Buffer.concat([Buffer.of(1), ...value.map(encodeAddress)])
      : Buffer.concat([Buffer.of(0), encodeDomains(value)]),
  ],
  decode(bytes) {
    if (bytes[0] === 0) return decodeDomains(bytes.subarray(1))
    return bytes[0] === 1 ? decodeAddresses(bytes.subarray(1), 4) : undefined
  },
}

const multicast = readPrefix('ff00::/8', '')

/** Unicast and multicast addresses, and domain names; an option has one of them (RFC 5908 §4). */
const ntpServers: OptionType<string[]> = {
  read: (value, field, option) =>
    readList(value, field, (item, at) =>
      String(item).includes(':') ? readOne(item, at, option) : readDomain(item, at),
    ),
  encode: value =>
    value.map(server => {
      const address = parseAddress(server)
      const bytes = address ? encodeAddress(server) : encodeDomain(server)
      const kind = address ? (prefixHolds(multicast, address) ? 2 : 1) : 3
      return Buffer.concat([Buffer.of(0, kind, bytes.length >> 8, bytes.length), bytes])
    }),
  decode: (_bytes, _option, instances) =>
    instances.map(instance => {
      const bytes = instance.subarray(4)
      if (instance.length < 4 || instance.readUInt16BE(2) !== bytes.length) return undefined
      const found =
        instance.readUInt16BE(0) === 3 ? decodeDomains(bytes) : decodeAddresses(bytes, 6)
      return found?.length === 1 ? found[0] : undefined
    }),
}

type Fqdn = { readonly flags: number; readonly name: string }

const types: Readonly<Record<OptionTypeName, OptionType<unknown>>> = {
  address: {
    read: readOne,
    encode: (value: string) => [encodeAddress(value)],
    decode: (bytes, { version }) =>
      bytes.length === sizeOf(version) ? decodeAddresses(bytes, version)?.[0] : undefined,
  } as OptionType<string>,
  addresses: {
    read: (value, field, option) => readList(value, field, (item, at) => readOne(item, at, option)),
    encode: value => [Buffer.concat(value.map(encodeAddress))],
    decode: (bytes, { version }) => decodeAddresses(bytes, version),
  } as OptionType<string[]>,
  'address-pairs': pairs,
  routes,
  uint8: integer(1),
  uint16,
  uint32: integer(4),
  int32: integer(4, true),
  uint16s: {
    read: (value, field, option) =>
      readList(value, field, (item, at) => uint16.read(item, at, option)),
    encode: (value, option) => [Buffer.concat(value.flatMap(one => uint16.encode(one, option)))],
    decode: bytes =>
      bytes.length % 2 > 0
        ? undefined
        : Array.from({ length: bytes.length / 2 }, (_, index) => bytes.readUInt16BE(2 * index)),
  } as OptionType<number[]>,
  boolean: {
    read: (value, field) =>
      typeof value === 'boolean' ? value : refuse(field, 'must be true or false'),
    encode: value => [Buffer.of(Number(value))],
    decode: bytes => (bytes.length === 1 && Number(bytes[0]) < 2 ? bytes[0] === 1 : undefined),
  } as OptionType<boolean>,
  string,
  strings,
  'domain-text': {
    read: readDomain,
    encode: value => [Buffer.from(value)],
    decode: string.decode,
  } as OptionType<string>,
  domain: {
    read: readDomain,
    encode: value => [encodeDomain(value)],
    decode(bytes) {
      const found = decodeDomains(bytes)
      return found?.length === 1 ? found[0] : undefined
    },
  } as OptionType<string>,
  // Only the DHCPv4 search list is compressed (RFC 3397 §2, RFC 8415 §10).
  domains: {
    read: (value, field) => readList(value, field, readDomain),
    encode: (value, { version }) => [
      version === 4 ? encodeSearchList(value) : encodeDomains(value),
    ],
    decode: decodeDomains,
  } as OptionType<string[]>,
  // The flags S, O and N as one number (RFC 4704 §4.1).
  fqdn: {
    read(value, field, option) {
      const { flags = 0, name } = readMembers(value, field, ['flags', 'name'])
      const bounded = { ...option, max: 7 }
      return {
        flags: integer(1).read(flags, `${field}/flags`, bounded),
        name: readDomain(name, `${field}/name`),
      }
    },
    encode: ({ flags, name }) => [Buffer.concat([Buffer.of(flags), encodeDomain(name)])],
    decode: bytes => ({ flags: bytes[0], name: decodeDomains(bytes.subarray(1))?.[0] }),
  } as OptionType<Fqdn>,
  'sip-servers': sipServers,
  'ntp-servers': ntpServers,
  hex: {
    read(value, field, { bytes }) {
      const digits = readText(value, field).toLowerCase().replaceAll(':', '')
      if (!/^([0-9a-f]{2})+$/.test(digits)) refuse(field, 'must be bytes in hex such as 0a1b2c')
      const isRight = bytes === undefined || digits.length === 2 * bytes
      return isRight ? digits : refuse(field, `must be ${bytes} bytes`)
    },
    encode: value => [Buffer.from(value, 'hex')],
    decode: bytes => bytes.toString('hex'),
  } as OptionType<string>,
}

const typeOf = ({ type }: OptionDefinition) => types[type]

/**
 * A value of an option in its canonical form.
 *
 * @throws {IpamError} `invalid_request`, `cidr_has_host_bits`, naming the field
 */
export function readOptionValue(option: OptionDefinition, value: unknown, field: string): unknown {
  const canonical = typeOf(option).read(value, field, option)
  const length = encodeOption(option, canonical).reduce((sum, bytes) => sum + bytes.length, 0)
  return length > bytesMax
    ? refuse(field, `takes ${length} bytes, and not more than ${bytesMax} are allowed`)
    : canonical
}

/**
 * The bytes of a canonical value, without code and length, for each instance of the option: one, but
 * for DHCPv6 NTP servers (RFC 5908 §4). In DHCPv4 more than 255 bytes are to be split (RFC 3396).
 */
export const encodeOption = (option: OptionDefinition, value: unknown): Buffer[] =>
  typeOf(option).encode(value, option)

/** The canonical value of all instances of an option; null for bytes that are none. */
export function decodeOption(option: OptionDefinition, instances: readonly Buffer[]): unknown {
  const value = typeOf(option).decode(Buffer.concat(instances), option, instances)
  try {
    return readOptionValue(option, value, 'value')
  } catch (error) {
    if (error instanceof IpamError) return null
    throw error
  }
}
