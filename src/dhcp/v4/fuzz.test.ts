import { expect, test } from 'vitest'
import {
  bytesOf,
  mutated,
  numberOf,
  packetOf,
  randomBytes,
} from '../../../test/helpers/dhcp4-packets.ts'
import {
  addressOption,
  clientId,
  macs,
  messages,
  now,
  option,
  originOf,
  reservationOf,
  serverAddress,
  worldOf,
} from '../../../test/helpers/dhcp4-world.ts'
import { Random } from '../../../test/helpers/random.ts'
import type { Answer, Outcome } from './answer.ts'
import { decodeMessage, encodeMessage, isMalformed, type Message } from './codec.ts'
import { answer } from './engine.ts'

const world = worldOf({
  set: {
    'ipv6-only-preferred': 60,
    'bootfile-name': 'x',
    'domain-search': ['a.example.com'],
    'vendor-options': 'ab'.repeat(300),
    'classless-routes': [{ destination: '0.0.0.0/0', gateway: '10.0.0.1' }],
  },
  link: { rapid_commit: true },
  automatic: { lease_seconds: 600 },
})
const allocated = reservationOf(world.near, '10.0.0.200', { expires_at: now + 600_000 })
const outcomes: (Outcome | undefined)[] = [
  undefined,
  undefined,
  { reservation: allocated },
  'refused',
  'unavailable',
]

/** Whose the addresses are, by MAC; the one of the client identifier stands alone. */
const owned: Readonly<Record<string, readonly string[]>> = {
  [macs.a]: ['10.0.0.5'],
  [macs.b]: ['10.0.0.6'],
  [macs.c]: ['10.1.0.7', '10.2.0.7'],
}

/** Packets of all kinds, as clients and relays send them. */
function realPackets(): Uint8Array[] {
  const { discover, request, decline, release, inform } = messages
  const server = addressOption(54, serverAddress)
  const wanted = addressOption(50, '10.0.0.5')
  const list = option(55, '0179030f06771a2a2b424348fc6c') + option(57, '05dc')
  const relay = option(82, `0102beef0504${'0a020001'}0b04${'0a020001'}1300`)
  const identity = option(61, clientId)
  const kinds = [
    { options: discover + list },
    { options: `${discover}5000${list}` },
    { options: discover + list + identity, mac: macs.x },
    { options: request + server + wanted + list },
    { options: request + wanted + list },
    { options: request + list, ciaddr: '10.0.0.5' },
    { options: request + server + wanted + list, mac: macs.b },
    { options: discover + addressOption(50, '10.0.0.6') },
    { options: request + server + addressOption(50, '10.0.0.6') },
    { options: request + list, ciaddr: '10.0.0.6' },
    { options: decline + server + wanted },
    { options: decline + server + wanted, mac: macs.b },
    { options: release + server, ciaddr: '10.0.0.5' },
    { options: inform + list, ciaddr: '10.0.0.5' },
    { options: discover, mac: macs.x },
    { options: discover + list + relay, mac: macs.c, giaddr: '10.2.0.1' },
    { options: request + addressOption(50, '10.2.0.7') + relay, mac: macs.c, giaddr: '10.2.0.1' },
  ]
  return kinds.map(parts => packetOf(parts))
}

const same = (one: Uint8Array | undefined, other: Uint8Array | undefined) =>
  expect(one && Buffer.from(one).toString('hex')).toBe(other && Buffer.from(other).toString('hex'))

/** Which addresses may be told to whoever sent this. */
function addressesOf({ htype, chaddr, options }: Message): number[] {
  const mac = htype === 1 && chaddr.length === 6 ? Buffer.from(chaddr).toString('hex') : ''
  const id = Buffer.from(options.get(61) ?? []).toString('hex')
  const own = [...(owned[mac] ?? []), ...(id === clientId ? ['10.0.0.7'] : [])]
  return own.map(numberOf)
}

/** What kinds of answers each kind of message may have. */
const kindsOf: Readonly<Record<number, readonly number[]>> = { 1: [2, 5], 3: [5, 6], 8: [5] }
const always = [53, 54, 51, 58, 59, 61, 80, 1, 60, 82]

/** The rules that every answer keeps, whatever was asked. */
function check(message: Message, given: Answer, outcome: Outcome | undefined) {
  if (given.type === 'wanted') return expect(outcome).toBeUndefined()
  const own = addressesOf(message)
  if (typeof outcome === 'object') own.push(outcome.reservation.address)
  for (const { reservation } of given.effects) expect(own).toContain(reservation.address)
  if (given.type === 'nothing') return
  const { bytes, left_out } = encodeMessage(given.message, given)
  const reply = decodeMessage(bytes)
  if (isMalformed(reply)) throw new Error(reply.malformed)

  const size = message.options.get(57)
  const room = size?.length === 2 ? Buffer.from(size).readUInt16BE() : 0
  expect(bytes.length).toBeLessThanOrEqual(Math.min(Math.max(room, 576), 1500) - 28)
  expect(bytes.length).toBeGreaterThanOrEqual(300)
  expect(reply.op).toBe(2)
  for (const member of ['xid', 'giaddr', 'htype'] as const) {
    expect(reply[member]).toBe(message[member])
  }
  same(reply.chaddr, message.chaddr)
  same(reply.options.get(61), message.options.get(61))
  if (!left_out.includes(82)) same(reply.options.get(82), message.options.get(82))
  const kind = reply.options.get(53)?.[0] ?? 0
  expect(kindsOf[message.options.get(53)?.[0] ?? 0]).toContain(kind)
  if (reply.yiaddr !== 0) expect(own).toContain(reply.yiaddr)
  if (kind === 6) {
    for (const code of reply.options.keys()) expect([53, 54, 56, 61, 82]).toContain(code)
    return expect(reply.yiaddr).toBe(0)
  }
  const asked = message.options.get(55)
  for (const code of asked ? reply.options.keys() : []) {
    expect([...always, ...(asked ?? [])]).toContain(code)
  }
  const lease = reply.options.get(51)
  if (lease) expect(Buffer.from(lease).readUInt32BE()).toBeLessThanOrEqual(3600)
  expect([message.giaddr || message.ciaddr || 0xffff_ffff, 0xffff_ffff]).toContain(given.to.address)
}

test('no packet makes the server throw, or break the rules of an answer', () => {
  const random = new Random(2132)
  const packets = realPackets()
  const seen = { malformed: 0, wanted: 0, nothing: 0, reply: 0, leased: 0 }
  const began = performance.now()
  for (let n = 0; n < 6000; n += 1) {
    const packet = random.pick(packets) ?? new Uint8Array()
    const bytes = n % 20 === 0 ? randomBytes(random, random.below(600)) : mutated(random, packet)
    const message = decodeMessage(n < packets.length ? (packets[n] ?? bytes) : bytes)
    if (isMalformed(message)) {
      seen.malformed += 1
      continue
    }
    const outcome = random.pick(outcomes)
    const origin = originOf({ is_unicast: random.below(2) === 0 })
    const given = answer(message, { bindings: world.bindings, origin, now, outcome })
    seen[given.type] += 1
    if (given.type !== 'wanted' && given.effects.length > 0) seen.leased += 1
    check(message, given, outcome)
  }
  expect((performance.now() - began) / 6000).toBeLessThan(20)
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(20)
})

test.each([
  ['a request list that never ends', '37fe'.padEnd(512, '01')],
  ['relay information in a thousand pieces', '52020900'],
  ['nothing but relay information', '52fe'.padEnd(512, '00')],
  ['an identifier of the length of a datagram', '3dfe'.padEnd(512, 'aa')],
])('%s takes no time', (_name, piece) => {
  const count = Math.floor(64_000 / (piece.length / 2))
  const packet = Uint8Array.from([
    ...packetOf({ options: messages.discover, giaddr: '10.0.0.1', end: '' }),
    ...bytesOf(piece.repeat(count)),
  ])
  const message = decodeMessage(packet)
  if (isMalformed(message)) throw new Error(message.malformed)
  const began = performance.now()
  for (let n = 0; n < 10; n += 1) {
    const given = answer(message, { bindings: world.bindings, origin: originOf(), now })
    if (given.type !== 'reply') throw new Error('not answered')
    expect(encodeMessage(given.message, given).bytes.length).toBeLessThanOrEqual(548)
  }
  expect((performance.now() - began) / 10).toBeLessThan(50)
})
