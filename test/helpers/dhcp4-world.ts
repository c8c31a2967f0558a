import { mergeOptions, type SetOption } from '../../src/dhcp/configuration.ts'
import { readOptionValue } from '../../src/dhcp/option-types.ts'
import { findOption } from '../../src/dhcp/options.ts'
import type { Answer, Origin } from '../../src/dhcp/v4/answer.ts'
import {
  createBindings,
  type Host,
  type Link,
  type Reservation,
  type Subnet,
} from '../../src/dhcp/v4/bindings.ts'
import { decodeMessage, encodeMessage, isMalformed, type Message } from '../../src/dhcp/v4/codec.ts'
import { answer } from '../../src/dhcp/v4/engine.ts'
import type { Context } from '../../src/dhcp/v4/request.ts'
import { type BootFacts, createPreparer } from '../../src/dhcp/v4/told.ts'
import { bytesOf, numberOf, type PacketParts, packetOf } from './dhcp4-packets.ts'

/** Options by name, as the API takes them. */
export type Set4 = Readonly<Record<string, unknown>>

export const now = Date.UTC(2026, 0, 1)
export const serverAddress = '10.0.0.2'
const prepare = createPreparer({ size_max: 100 })

/** What a block with a gateway and a name server tells, and what is set on it. */
export function toldOf(cidr: string, set: Set4 = {}, boots: readonly BootFacts[] = []) {
  const gateway_ip = cidr.replace(/\d+\/.*/, '1')
  const options = Object.entries(set).map(([name, value]): SetOption => {
    const option = findOption(4, name)
    if (!option) throw new Error(`no such option: ${name}`)
    const source = { type: 'block' as const, id: cidr }
    return {
      code: option.code,
      value: readOptionValue(option, value, name),
      source,
      derived_from: null,
    }
  })
  const facts = { id: cidr, cidr, version: 4 as const, gateway_ip, routes: [] }
  return prepare(mergeOptions({ ...facts, dns_nameservers: ['10.0.0.53'] }, options), boots)
}

export function subnetOf(cidr: string, set: Set4 = {}, boots: readonly BootFacts[] = []): Subnet {
  const [first = '', length] = cidr.split('/')
  const told = toldOf(cidr, set, boots)
  return { id: cidr, first: numberOf(first), length: Number(length), told, automatic: null }
}

export function linkOf(id: string, subnets: readonly Subnet[], more: Partial<Link> = {}): Link {
  return {
    id,
    subnets,
    relays: [],
    is_authoritative: true,
    lease_seconds: 3600,
    rapid_commit: false,
    mtu: 1500,
    ...more,
  }
}

export function reservationOf(
  subnet: Subnet,
  address: string,
  more: Partial<Reservation> = {},
): Reservation {
  const times = { expires_at: null, declined_until: null }
  const kept = {
    allocation_id: `allocation of ${address}`,
    address: numberOf(address),
    text: address,
  }
  return { ...kept, subnet, told: subnet.told, ...times, ...more }
}

export const macNumber = (mac: string) => Number(`0x${mac}`)
export const macs = { a: '525400000001', b: '525400000002', c: '525400000003', x: '5254000000ff' }
/** RFC 4361 §6.1: 255, the identity association, the DUID. */
export const clientId = 'ff00000001000300015254000000dd'

export type WorldFacts = {
  readonly set?: Set4
  readonly boots?: readonly BootFacts[]
  readonly link?: Partial<Link>
  /** Of `net`. */
  readonly automatic?: Subnet['automatic']
  readonly is_automatic?: boolean
  readonly a?: Partial<Reservation>
}

/**
 * Two links. `net`, to which the server is attached: a has 10.0.0.5, b 10.0.0.6, and a machine with
 * a client identifier 10.0.0.7. `far`, behind a router: c has addresses in both its subnets. `named`,
 * behind a relay that is the only one for it: c has 10.3.0.7.
 */
export function worldOf(facts: WorldFacts = {}) {
  const { set = {}, boots = [], link = {}, a = {}, automatic = null, is_automatic = false } = facts
  const bindings = createBindings()
  const near = { ...subnetOf('10.0.0.0/24', set, boots), automatic }
  const far = [subnetOf('10.1.0.0/24'), subnetOf('10.2.0.0/24')] as const
  const net = linkOf('net', [near], link)
  bindings.putLink(net)
  bindings.putLink(linkOf('far', far))
  const named = subnetOf('10.3.0.0/24')
  const relays = [{ giaddr: numberOf('172.16.0.1'), circuit_id: 'c0ffee' }]
  bindings.putLink(linkOf('named', [named], { relays }))
  const hostOf = (id: string, mac: string | null, reservations: Reservation[]): Host => {
    const names = { mac: mac === null ? null : macNumber(mac), client_id: null }
    return { id, ...names, is_automatic: false, host_name: null, reservations }
  }
  const ofA = hostOf('a', macs.a, [reservationOf(near, '10.0.0.5', a)])
  bindings.putHost('net', { ...ofA, is_automatic })
  bindings.putHost('net', hostOf('b', macs.b, [reservationOf(near, '10.0.0.6')]))
  const d = hostOf('d', null, [reservationOf(near, '10.0.0.7')])
  bindings.putHost('net', { ...d, client_id: clientId })
  const ofC = [reservationOf(far[0], '10.1.0.7'), reservationOf(far[1], '10.2.0.7')]
  bindings.putHost('far', hostOf('c', macs.c, ofC))
  bindings.putHost('named', hostOf('c', macs.c, [reservationOf(named, '10.3.0.7')]))
  return { bindings, net, near, far }
}
export type World = ReturnType<typeof worldOf>

export function originOf(more: Partial<Origin> = {}): Origin {
  return {
    link_id: 'net',
    takes_remote: true,
    is_unicast: false,
    source: { address: 0, port: 68 },
    server: numberOf(serverAddress),
    servers: new Set([numberOf(serverAddress), numberOf('10.0.0.3')]),
    ...more,
  }
}

export function read(packet: Uint8Array): Message {
  const message = decodeMessage(packet)
  if (isMalformed(message)) throw new Error(message.malformed)
  return message
}

/** What the server says to a packet. */
export function askedWith(
  { bindings }: Pick<World, 'bindings'>,
  parts: PacketParts,
  { origin = {}, ...more }: { origin?: Partial<Origin> } & Partial<Omit<Context, 'origin'>> = {},
): Answer {
  const context = { bindings, now, origin: originOf(origin), ...more }
  return answer(read(packetOf(parts)), context)
}

const dotted = (address: number) => [24, 16, 8, 0].map(bits => (address >>> bits) & 255).join('.')

/**
 * A reply as its bytes say it, with values in hex; what else came of a packet is its kind and
 * reason.
 */
export function shown(given: Answer) {
  if (given.type === 'nothing') return { nothing: given.reason }
  if (given.type === 'wanted') return { wanted: given.wanted.type }
  const { bytes: pooled, left_out } = encodeMessage(given.message, given)
  const bytes = Uint8Array.from(pooled) // Views of a Buffer would be Buffers.
  if (bytes.length > given.bytes_max) throw new Error('the reply is too long')
  const message = read(bytes)
  const hex = (value: Uint8Array) => Buffer.from(value).toString('hex')
  return {
    type: message.options.get(53)?.[0],
    yiaddr: dotted(message.yiaddr),
    to: `${dotted(given.to.address)}:${given.to.port}`,
    codes: [...message.options.keys()],
    options: new Map([...message.options].map(([code, value]) => [code, hex(value)])),
    text: (code: number) => Buffer.from(message.options.get(code) ?? []).toString(),
    left_out,
    message,
  }
}

/** A reply, or an error where there is none. */
export function replied(given: Answer) {
  const found = shown(given)
  if (found.type === undefined) throw new Error(`no reply: ${JSON.stringify(found)}`)
  return found
}

/** An option of one address, and what is put together from options, in hex. */
export const addressOption = (code: number, address: string): string =>
  Buffer.from([code, 4, ...address.split('.').map(Number)]).toString('hex')
export const option = (code: number, hex: string): string =>
  Buffer.from([code, bytesOf(hex).length]).toString('hex') + hex
export const messages = {
  discover: '350101',
  request: '350103',
  decline: '350104',
  release: '350107',
  inform: '350108',
}
