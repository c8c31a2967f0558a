import { expect, test } from 'vitest'
import {
  address,
  clientId,
  duidLL,
  envelope,
  holding,
  iaNa,
  iaPd,
  iaTa,
  ip6,
  option,
  packet,
  plain,
  prefix,
  rapid,
  relayed,
  serverDuid,
  serverId,
  show,
  wants,
} from '../../../test/helpers/dhcp6.ts'
import {
  arrival,
  automaticDuid,
  hostOf,
  linkTable,
  macs,
  now,
} from '../../../test/helpers/dhcp6-world.ts'
import { Random } from '../../../test/helpers/random.ts'
import { decodeMessage, encodeMessage } from './codec.ts'
import { answer, serverOf } from './engine.ts'

// Whatever comes, the engine neither throws nor says anything wrong.

const own = { one: ['2001:db8::a', '2001:db8:a::/56'], auto: ['2001:db8::c'] }
const two = ['2001:db8::b1', '2001:db8::b2', '2001:db8:b::/56', '2001:db8:b:100::/56']
const owners = new Map<string, readonly string[]>([
  [macs.one, own.one],
  [macs.two, two],
  [automaticDuid, own.auto],
])

const na = iaNa(5, [address('2001:db8::a'), address('2001:db8::b2')])
const pd = iaPd(6, [prefix('2001:db8:b::/56'), prefix('::/60')])
const direct = [macs.one, macs.two, macs.none]
  .map(duidLL)
  .concat(automaticDuid)
  .flatMap(duid => {
    const id = clientId(duid)
    const common = [id, option(8, '0000'), wants(23, 24, 56, 59)]
    return [
      plain('solicit', ...common, iaNa(5, []), iaPd(6, [])),
      plain('solicit', ...common, rapid, na, iaNa(9, []), pd, iaTa(1)),
      plain('request', ...common, serverId, na, pd),
      plain('renew', ...common, serverId, na, pd),
      plain('rebind', ...common, na, pd),
      plain('confirm', ...common, na),
      plain('release', id, serverId, na, pd),
      plain('decline', id, serverId, na),
      plain('inform', ...common),
    ]
  })
const seen = option(79, '0001', macs.two)
const forwarded = direct.map((message, index) => {
  const inner = relayed(
    'forward',
    0,
    ['::', 'fe80::216:3eff:fe00:1'],
    option(18, Buffer.from('port-7').toString('hex')),
    ...(index % 2 > 0 ? [seen] : []),
    holding(message),
  )
  return relayed('forward', 1, ['2001:db8::1', 'fe80::6'], option(18, '07'), holding(inner))
})
const corpus = [...direct, ...forwarded]

/** The packet with a few of its bytes, or runs of them, changed. */
function mutate(random: Random, hex: string): Buffer {
  let bytes = packet(hex)
  for (let left = random.below(4); left > 0; left--) {
    const at = random.below(bytes.length + 1)
    const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)]
    const odd = Buffer.from([random.pick([0, 1, 4, 24, 127, 255, random.below(256)]) ?? 0])
    switch (random.below(6)) {
      case 0:
        bytes = head
        break
      case 1:
        bytes = Buffer.concat([head, odd, tail])
        break
      case 2: {
        const other = packet(random.pick(corpus) ?? '')
        bytes = Buffer.concat([head, other.subarray(random.below(other.length))])
        break
      }
      case 3:
        bytes = Buffer.concat([head, tail.subarray(0, random.below(40)), tail])
        break
      default:
        bytes = Buffer.concat([head, odd, tail.subarray(1)])
    }
  }
  return bytes
}

/** What is wrong with an answer, as the packets themselves show. */
function faults(asked: Buffer, said: Buffer): string[] {
  const hex = asked.toString('hex') + arrival.address.toString('hex')
  const found: string[] = []
  const [request, reply] = [envelope(asked), envelope(said)]
  if (request.relays.join() !== reply.relays.join()) found.push('relays')
  const types = `${request.type} ${reply.type}`
  if (reply.type !== 'reply' && types !== 'solicit advertise') found.push(types)
  if (request.transaction !== reply.transaction) found.push('transaction')
  if (request.client !== reply.client) found.push('client')
  const line = show(said).at(-1) ?? ''
  if (!line.includes(' server')) found.push('server')
  const told = [...line.matchAll(/([0-9a-f:.]+(?:\/\d+)?)=(\d+)-(\d+)/g)]
  const valid = told.filter(([, , , lifetime]) => lifetime !== '0').map(([, text]) => String(text))
  for (const text of valid) {
    const claims = [...owners].filter(([, leases]) => leases.includes(text))
    if (!claims.some(([owner]) => isNamed(hex, owner))) found.push(`foreign ${text}`)
  }
  if (new Set(valid).size < valid.length) found.push('twice')
  for (const [, text = '', , lifetime] of told) {
    const bytes = ip6(mapped(text.replace(/\/.*/, '')))
    if (lifetime === '0' && !hex.includes(bytes)) found.push(`unasked ${text}`)
  }
  return found
}

/** Whether a packet has a MAC or DUID, or a link-local address that is made of the MAC. */
const isNamed = (hex: string, owner: string) =>
  hex.includes(owner) || hex.includes(`0216${owner.slice(4, 6)}fffe${owner.slice(6)}`)

/** The last groups of an address in hexadecimal, where they are written as a dotted quad. */
const mapped = (text: string) =>
  text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_all, ...octets) =>
    packet(
      octets
        .slice(0, 4)
        .map(octet => Number(octet).toString(16).padStart(2, '0'))
        .join(''),
    )
      .toString('hex')
      .replace(/^(....)/, '$1:'),
  )

const { bindings } = linkTable()
const world = { server: serverOf(packet(serverDuid)), bindings, now }
const sent = (bytes: Buffer) => {
  const message = decodeMessage(bytes)
  return 'malformed' in message ? message : answer(message, arrival, world)
}

test('changed packets get right answers or none', () => {
  const random = new Random(8415)
  const fates = new Map<string, number>()
  for (let round = 0; round < 10_000; round++) {
    const bytes = mutate(random, random.pick(corpus) ?? '')
    const made = sent(bytes)
    const fate = 'malformed' in made ? made.malformed : (made.reason ?? 'answered')
    fates.set(fate, (fates.get(fate) ?? 0) + 1)
    if ('malformed' in made) continue
    for (const effect of made.effects) {
      if (effect.kind !== 'released' && effect.kind !== 'declined') continue
      const at = effect.lease.text.replace(/\/.*/, '')
      expect(bytes.toString('hex')).toContain(ip6(at))
    }
    if (!made.reply) continue
    const said = encodeMessage(made.reply.message)
    expect(faults(bytes, said), bytes.toString('hex')).toEqual([])
  }
  expect(fates.get('answered')).toBeGreaterThan(3000)
  expect(fates.get('broken_options')).toBeGreaterThan(500)
  expect(fates.size).toBeGreaterThan(12)
})

test('random bytes are no message, or get no answer', () => {
  const random = new Random(1)
  for (let round = 0; round < 20_000; round++) {
    const bytes = Buffer.from(Array.from({ length: random.below(80) }, () => random.below(256)))
    bytes[0] = random.below(16)
    const made = sent(bytes)
    if (!('malformed' in made)) expect(made.reply).toBeNull()
  }
})

test('the largest packets take a few milliseconds', () => {
  const id = clientId(duidLL(macs.one))
  const many = Array<string>(64).fill(address('2001:db8::b1'))
  const associations = Array.from({ length: 32 }, (_, iaid) => iaNa(iaid, many))
  const busy = linkTable()
  const all = Array.from({ length: 256 }, (_, index) => `2001:db8::1:${index.toString(16)}`)
  busy.link.setHost(hostOf('one', ...all), { mac: macs.one })
  const nested = (hops: number): string =>
    relayed(
      'forward',
      hops,
      ['::', 'fe80::5'],
      option(43, '0012'.repeat(3000)),
      option(7, '').repeat(200),
      holding(hops > 0 ? nested(hops - 1) : plain('solicit', id, iaNa(7, []))),
    )
  const large = [
    plain('renew', id, serverId, ...associations),
    plain('request', id, serverId, option(6, '0017'.repeat(30_000))),
    plain('solicit', option(14).repeat(16_000)),
    plain('solicit', id, iaNa(1, [option(14).repeat(16_000)])),
    nested(8),
  ].map(packet)
  for (const bytes of large) {
    expect(bytes.length).toBeGreaterThan(50_000)
    const times = Array.from({ length: 7 }, () => {
      const start = performance.now()
      const message = decodeMessage(bytes)
      if (!('malformed' in message)) answer(message, arrival, { ...world, bindings: busy.bindings })
      return performance.now() - start
    })
    expect(Math.min(...times)).toBeLessThan(10)
  }
})

test('two servers say the same', () => {
  const other = { ...world, bindings: linkTable().bindings }
  for (const hex of corpus) {
    const message = decodeMessage(packet(hex))
    if ('malformed' in message) throw new Error(hex)
    const [first, second] = [world, other].map(each => answer(message, arrival, each))
    expect(second?.reason).toBe(first?.reason)
    const bytes = [first, second].map(made => made?.reply && encodeMessage(made.reply.message))
    expect(bytes[1]).toEqual(bytes[0])
  }
})
