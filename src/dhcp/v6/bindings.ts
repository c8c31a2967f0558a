import { parseAddress } from '../../ip/address.ts'
import { parsePrefix } from '../../ip/prefix.ts'
import type { OptionValue } from '../configuration.ts'
import { encodeOption } from '../option-types.ts'
import { addressKey, prefixKey } from './associations.ts'
import { type Option, optionCodes } from './codec.ts'

// What the engine asks about those whom it answers.

/** An address or a delegated prefix of a host. Times are seconds since 1970. */
export type Lease = {
  readonly allocationId: string
  /** In canonical form, a prefix as CIDR. */
  readonly text: string
  /** As messages name it; see `addressKey` and `prefixKey`. */
  readonly key: string
  /** When the allocation lapses, so that nobody is told it any longer; null for never. */
  readonly endsAt: number | null
  /** Until when it is told to nobody, since a machine found it in use (RFC 8415 §18.3.8). */
  readonly withheldUntil: number
}

/** Options for messages, encoded once, by code; an option has several instances now and then. */
export type PreparedOptions = ReadonlyMap<number, readonly Option[]>

/** An interface on a link, or a client to whom an address was allocated on its own request. */
export type Host = {
  readonly id: string
  /** Whether its allocations were made for a client that asked: they go on and end with its lease. */
  readonly isAutomatic: boolean
  readonly addresses: readonly Lease[]
  readonly prefixes: readonly Lease[]
  readonly options: PreparedOptions
  /** In seconds; 0xffffffff is for ever. The preferred one is not longer than the valid one. */
  readonly preferredLifetime: number
  readonly validLifetime: number
}

/** Where clients are: the network of a served interface, or of a relay. */
export type Link = {
  readonly id: string
  /** By a MAC of 12 hexadecimal digits. */
  hostOfMac(mac: string): Host | undefined
  /**
   * By what the client calls itself (RFC 8415 §11) and its association (§12); without one, any host
   * of the client.
   */
  hostOfClient(duid: Buffer, iaid: number | null): Host | undefined
  /** Whether an address is in a prefix of the link; null if its prefixes are not known. */
  isOnLink(address: Buffer): boolean | null
  /** Whether an address is to be allocated to an unknown client that asks for one. */
  readonly isAutomatic: boolean
  /** Whether two messages are enough for clients that wish it so (RFC 8415 §18.3.1). */
  readonly hasRapidCommit: boolean
  /** For unknown clients that ask for options alone; null if they get no answer. */
  readonly options: PreparedOptions | null
}

/** Where a relay says that a client is. Addresses are 16 bytes. */
export type Relayed = {
  /** The relay's own. */
  readonly address: Buffer
  /** Of the link (RFC 8415 §9); unspecified if the relay does not say. */
  readonly linkAddress: Buffer
  /** Which the relay alone understands (RFC 8415 §21.18). */
  readonly interfaceId: Buffer | undefined
}

export type Bindings = {
  linkOfInterface(name: string): Link | undefined
  /** The link that names the relay, by its own or by the link's address, and its Interface-Id. */
  linkOfRelay(relayed: Relayed): Link | undefined
  /** By an address of the link. Undefined, too, if it could be on several, or names its relays. */
  linkOfAddress(linkAddress: Buffer): Link | undefined
}

/** An address, or a prefix as CIDR; what else of a lease is not what it mostly is. */
export type LeaseFacts = { readonly text: string } & Partial<Omit<Lease, 'text' | 'key'>>

/** What a host is made of. Its addresses and prefixes are told in this order. */
export type HostFacts = Pick<Host, 'id' | 'isAutomatic' | 'preferredLifetime' | 'validLifetime'> & {
  /** As `leaseOf` takes them. */
  readonly leases: readonly LeaseFacts[]
  readonly options: PreparedOptions
}

/**
 * A host, ready for answers.
 *
 * @throws {RangeError} for text that is no IPv6 address or prefix, and for lifetimes that cannot be
 */
export function prepareHost({ leases, ...facts }: HostFacts): Host {
  const { preferredLifetime: preferred, validLifetime: valid } = facts
  const areLifetimes = preferred >>> 0 === preferred && valid >>> 0 === valid
  if (!areLifetimes || preferred > valid)
    throw new RangeError(`lifetimes of ${preferred} and ${valid} seconds`)
  const addresses: Lease[] = []
  const prefixes: Lease[] = []
  for (const lease of leases) {
    const kind = lease.text.includes('/') ? prefixes : addresses
    kind.push(leaseOf(lease))
  }
  const { id, isAutomatic, options } = facts
  return {
    id,
    isAutomatic,
    addresses,
    prefixes,
    options,
    preferredLifetime: preferred,
    validLifetime: valid,
  }
}

function bytesOf(value: bigint): Buffer {
  return Buffer.from(value.toString(16).padStart(32, '0'), 'hex')
}

const scratch = Buffer.alloc(16)

/**
 * The 16 bytes of an address that is nothing but groups in hex and at most one `::`, as nearly all are;
 * null for any other text. A subnet that changes has its tens of thousands of hosts made anew, and to
 * do it by integers takes ten times as long. They are there until the next call.
 */
function plainBytes(text: string): Buffer | null {
  const gap = text.indexOf('::')
  const first = writeGroups(gap < 0 ? text : text.slice(0, gap), 0)
  if (gap < 0) return first === 16 ? scratch : null
  const end = first < 0 ? -1 : writeGroups(text.slice(gap + 2), first)
  if (end < 0 || end > 14) return null
  const second = 16 - (end - first)
  scratch.copyWithin(second, first, end)
  scratch.fill(0, first, second)
  return scratch
}

/** Writes groups behind a place of `scratch`, and says where they end; -1 if they are none. */
function writeGroups(text: string, start: number): number {
  let at = start
  let group = 0
  let digits = 0
  for (let place = 0; text !== '' && place <= text.length; place += 1) {
    const code = place < text.length ? text.charCodeAt(place) : 58
    if (code === 58) {
      if (digits === 0 || digits > 4 || at > 14) return -1
      scratch[at] = group >> 8
      scratch[at + 1] = group
      at += 2
      group = 0
      digits = 0
    } else {
      const digit = code >= 97 ? code - 87 : code >= 48 && code <= 57 ? code - 48 : 16
      if (digit > 15) return -1
      group = group * 16 + digit
      digits += 1
    }
  }
  return at
}

/**
 * The 16 bytes of an IPv6 address.
 *
 * @throws {RangeError} for other text
 */
export function addressBytes(text: string): Buffer {
  const address = parseAddress(text)
  if (address?.version !== 6) throw new RangeError(`not an IPv6 address: ${text}`)
  return bytesOf(address.value)
}

/**
 * The lease of an IPv6 address, or of a delegated prefix as CIDR.
 *
 * @throws {RangeError} for other text
 */
export function leaseOf(facts: LeaseFacts): Lease {
  const { text, allocationId = '', endsAt = null, withheldUntil = 0 } = facts
  return { allocationId, text, key: keyOf(text), endsAt, withheldUntil }
}

function keyOf(text: string): string {
  if (!text.includes('/')) return addressKey(plainBytes(text) ?? addressBytes(text))
  const prefix = parsePrefix(text)?.prefix
  if (prefix?.version !== 6) throw new RangeError(`not an IPv6 prefix: ${text}`)
  return prefixKey(bytesOf(prefix.first), prefix.length)
}

/**
 * The options of several subnets of a host, encoded; of the same option the first counts. Those that
 * tell clients to unicast are left out: this server wants to hear them through relays and port
 * security, so that it offers no Server Unicast (RFC 8415 §21.12).
 */
export function prepareOptions(subnets: readonly (readonly OptionValue[])[]): PreparedOptions {
  const prepared = new Map<number, readonly Option[]>()
  for (const { option, value } of subnets.flat()) {
    const { code, version } = option
    if (version !== 6 || code === optionCodes.serverUnicast || prepared.has(code)) continue
    prepared.set(
      code,
      encodeOption(option, value).map(data => ({ code, data })),
    )
  }
  return prepared
}
