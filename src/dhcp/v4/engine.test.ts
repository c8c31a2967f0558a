import { describe, expect, test } from 'vitest'
import { numberOf } from '../../../test/helpers/dhcp4-packets.ts'
import {
  addressOption,
  askedWith,
  clientId,
  linkOf,
  macs,
  messages,
  now,
  option,
  replied,
  reservationOf,
  serverAddress,
  shown,
  worldOf,
} from '../../../test/helpers/dhcp4-world.ts'
import type { Host } from './bindings.ts'

const world = worldOf()
const { discover, request, decline, release, inform } = messages
const requested = (address: string) => addressOption(50, address)
const server = (address = serverAddress) => addressOption(54, address)
const broadcast = '255.255.255.255:68'
const unicast = { is_unicast: true }
const offered = { type: 2, yiaddr: '10.0.0.5', to: broadcast }
const hostNamed = (id: string, mac: number, reservations: Host['reservations']): Host => ({
  id,
  mac,
  client_id: null,
  is_automatic: false,
  host_name: null,
  reservations,
})
const acknowledged = { type: 5, yiaddr: '10.0.0.5', to: broadcast }
const refused = { type: 6, yiaddr: '0.0.0.0', to: broadcast }

describe('DHCPDISCOVER (RFC 2131 §4.3.1)', () => {
  test('is answered with all that belongs to an offer', () => {
    const parts = { xid: 'cafe0001', flags: '8000', options: discover + option(55, '0301060f') }
    const { message, options, to } = replied(askedWith(world, parts))
    expect(message).toMatchObject({
      op: 2,
      htype: 1,
      hops: 0,
      xid: 0xcafe0001,
      secs: 0,
      flags: 0x8000,
      ciaddr: 0,
      yiaddr: numberOf('10.0.0.5'),
      siaddr: 0,
      giaddr: 0,
      chaddr: Uint8Array.from(Buffer.from(macs.a, 'hex')),
    })
    expect(to).toBe(broadcast)
    expect([...options]).toEqual([
      [53, '02'],
      [54, '0a000002'],
      [51, '00000e10'],
      [58, '00000708'],
      [59, '00000c4e'],
      [1, 'ffffff00'],
      [3, '0a000001'],
      [6, '0a000035'],
    ])
  })

  test.each([
    ['a known MAC', { mac: macs.b }, '10.0.0.6'],
    ['a known client identifier', { mac: macs.x, options: option(61, clientId) }, '10.0.0.7'],
    [
      'no Ethernet, but a known identifier (RFC 4390)',
      { htype: 32, hlen: 0, options: option(61, clientId) },
      '10.0.0.7',
    ],
    ['both: the MAC counts', { mac: macs.a, options: option(61, clientId) }, '10.0.0.5'],
    ['a wish for the address of another', { options: requested('10.0.0.6') }, '10.0.0.5'],
  ] as const)('is known by %s', (_name, parts, yiaddr) => {
    const options = discover + ('options' in parts ? parts.options : '')
    expect(shown(askedWith(world, { ...parts, options }))).toMatchObject({ type: 2, yiaddr })
  })

  test.each([
    ['an unknown MAC', { mac: macs.x }, 'unknown client'],
    ['a MAC of another link', { mac: macs.c }, 'unknown client'],
    ['other hardware with the digits of a MAC', { htype: 6 }, 'unknown client'],
    ['a MAC cut short', { hlen: 5 }, 'unknown client'],
    ['BOOTP, which has no type of message', { options: '' }, 'not for servers'],
    ['a reply', { op: 2 }, 'not for servers'],
    ['an offer', { options: '350102' }, 'not for servers'],
    ['a kind that is not known', { options: '350112' }, 'not for servers'],
    ['two kinds', { options: '350101350103' }, 'malformed'],
    ['half an address', { options: `${discover}32020a00` }, 'malformed'],
    ['relay information that is cut off', { options: `${discover}52020104` }, 'malformed'],
    ['a relay on no link', { giaddr: '10.9.0.1' }, 'unknown link'],
  ] as const)('is not answered with %s', (_name, parts, nothing) => {
    expect(shown(askedWith(world, { options: discover, ...parts }))).toEqual({ nothing })
  })

  test('of a host without a usable address is not answered', () => {
    const declined = worldOf({ a: { declined_until: now + 1 } })
    const parts = { options: discover }
    expect(shown(askedWith(declined, parts))).toEqual({ nothing: 'address declined' })
    expect(shown(askedWith(declined, parts, { now: now + 1 }))).toMatchObject(offered)
    const { bindings } = worldOf()
    bindings.putHost('net', hostNamed('a', 0x525400000001, []))
    expect(shown(askedWith({ bindings }, parts))).toEqual({ nothing: 'no address' })
  })

  test.each([
    ['as long as is asked for', 600, 600],
    ['not longer than is said', 7200, 3600],
    ['not shorter than a minute', 1, 60],
    ['not without end', 0xffff_ffff, 3600],
  ])('is offered a lease that lasts %s', (_name, asked, lease) => {
    const options = discover + option(51, asked.toString(16).padStart(8, '0'))
    const found = replied(askedWith(world, { options })).options
    const [seconds, renewal, rebinding] = [51, 58, 59].map(code => Number(`0x${found.get(code)}`))
    expect([seconds, renewal, rebinding]).toEqual([lease, lease / 2, Math.floor(lease * 0.875)])
  })

  test('is acknowledged at once where both sides are for it (RFC 4039)', () => {
    const rapid = worldOf({ link: { rapid_commit: true } })
    const given = askedWith(rapid, { options: `${discover}5000` })
    expect(shown(given)).toMatchObject(acknowledged)
    expect(replied(given).options.get(80)).toBe('')
    expect(given).toMatchObject({ effects: [{ type: 'leased', ends_at: now + 3_600_000 }] })
    expect(shown(askedWith(rapid, { options: discover }))).toMatchObject(offered)
    const slow = replied(askedWith(world, { options: `${discover}5000` }))
    expect(slow).toMatchObject(offered)
    expect(slow.codes).not.toContain(80)
  })
})

describe('DHCPREQUEST (RFC 2131 §4.3.2)', () => {
  const other = server('10.0.0.4')
  test.each([
    ['SELECTING', {}, server() + requested('10.0.0.5'), acknowledged],
    [
      'SELECTING, for another address of this server',
      {},
      server('10.0.0.3') + requested('10.0.0.5'),
      acknowledged,
    ],
    [
      'SELECTING, for another server',
      {},
      other + requested('10.0.0.5'),
      { nothing: 'for another server' },
    ],
    ['SELECTING, the address of another', {}, server() + requested('10.0.0.6'), refused],
    ['SELECTING, unknown', { mac: macs.x }, server() + requested('10.0.0.5'), refused],
    ['SELECTING, no address', {}, server(), { nothing: 'malformed' }],
    ['INIT-REBOOT', {}, requested('10.0.0.5'), acknowledged],
    ['INIT-REBOOT, the address of another', {}, requested('10.0.0.6'), refused],
    ['INIT-REBOOT, on the wrong network', {}, requested('192.0.2.1'), refused],
    ['INIT-REBOOT, unknown', { mac: macs.x }, requested('10.0.0.9'), { nothing: 'unknown client' }],
    ['INIT-REBOOT, unknown on the wrong network', { mac: macs.x }, requested('192.0.2.1'), refused],
    ['RENEWING', { ciaddr: '10.0.0.5' }, '', { ...acknowledged, to: '10.0.0.5:68' }],
    ['RENEWING, the address of another', { ciaddr: '10.0.0.6' }, '', refused],
    ['REBINDING, on the wrong network', { ciaddr: '192.0.2.1' }, '', refused],
    ['REBINDING, unknown', { mac: macs.x, ciaddr: '10.0.0.5' }, '', refused],
    ['nothing', {}, '', { nothing: 'malformed' }],
  ] as const)('%s', (_name, parts, options, expected) => {
    const given = askedWith(world, { ...parts, options: request + options })
    if ('nothing' in expected) expect(shown(given)).toEqual(expected)
    else expect(shown(given)).toMatchObject(expected)
    const effects = given.type === 'wanted' ? [] : given.effects.map(({ type }) => type)
    expect(effects).toEqual('type' in expected && expected.type === 5 ? ['leased'] : [])
  })

  test('is reported with whom and until when', () => {
    const options = request + requested('10.0.0.5') + option(61, '01525400000001')
    const given = askedWith(world, { options })
    expect(given).toMatchObject({
      effects: [
        {
          type: 'leased',
          link: { id: 'net' },
          client: { mac: 0x525400000001 },
          reservation: { allocation_id: 'allocation of 10.0.0.5' },
          ends_at: now + 3_600_000,
        },
      ],
    })
  })

  test('in RENEWING may come from another link, through routers', () => {
    const parts = { mac: macs.c, ciaddr: '10.2.0.7', options: request }
    const renewed = askedWith(world, parts, { origin: unicast })
    expect(shown(renewed)).toMatchObject({ type: 5, yiaddr: '10.2.0.7', to: '10.2.0.7:68' })
    const gone = askedWith(world, { ...parts, mac: macs.x }, { origin: unicast })
    expect(shown(gone)).toMatchObject({ type: 6, to: '10.2.0.7:68' })
    const nowhere = askedWith(world, { ...parts, ciaddr: '10.9.0.7' }, { origin: unicast })
    expect(shown(nowhere)).toEqual({ nothing: 'unknown link' })
    const there = askedWith(world, parts, { origin: { ...unicast, link_id: null } })
    expect(shown(there)).toMatchObject({ type: 5, yiaddr: '10.2.0.7' })
  })

  test('for what is wrong is left to others where these may know better', () => {
    const shared = worldOf({ link: { is_authoritative: false } })
    for (const address of ['10.0.0.6', '192.0.2.1']) {
      const given = askedWith(shared, { options: request + requested(address) })
      expect(shown(given)).toEqual({ nothing: 'not authoritative' })
    }
    const named = request + server() + requested('10.0.0.6')
    expect(shown(askedWith(shared, { options: named }))).toMatchObject(refused)
  })

  test('is refused with no more than the reason', () => {
    const options =
      request + server() + requested('10.0.0.6') + option(61, '0099') + option(55, '0103')
    const { codes, text, message } = replied(askedWith(world, { options, ciaddr: '10.0.0.6' }))
    expect(codes).toEqual([53, 54, 56, 61])
    expect(text(56)).toMatch(/address/)
    expect(message).toMatchObject({ ciaddr: 0, yiaddr: 0, siaddr: 0 })
  })

  test('is not answered on a link without IPv4', () => {
    const { bindings } = worldOf()
    bindings.putLink(linkOf('net', []))
    bindings.dropHost('net', 'a')
    const given = askedWith({ bindings }, { options: request + requested('10.0.0.5') })
    expect(shown(given)).toEqual({ nothing: 'no address' })
  })

  test('for an address that was declined is refused', () => {
    const declined = worldOf({ a: { declined_until: now + 1000 } })
    const given = askedWith(declined, { options: request + requested('10.0.0.5') })
    expect(shown(given)).toMatchObject(refused)
  })
})

describe('DHCPDECLINE and DHCPRELEASE (RFC 2131 §4.3.3, §4.3.4)', () => {
  const effectsOf = (parts: Parameters<typeof askedWith>[1]) => {
    const given = askedWith(world, parts)
    if (given.type !== 'nothing') throw new Error('neither is ever answered')
    return given.effects.length > 0
      ? given.effects.map(({ type, reservation }) => `${type} ${reservation.allocation_id}`)
      : given.reason
  }

  test.each([
    ['its own', {}, server() + requested('10.0.0.5'), ['declined allocation of 10.0.0.5']],
    ['that of another', {}, server() + requested('10.0.0.6'), 'address of another'],
    ['none', {}, server(), 'address of another'],
    [
      'its own, to another server',
      {},
      server('10.0.0.4') + requested('10.0.0.5'),
      'for another server',
    ],
    ['its own, to nobody', {}, requested('10.0.0.5'), 'malformed'],
    ['one, unknown', { mac: macs.x }, server() + requested('10.0.0.5'), 'unknown client'],
  ] as const)('declines %s', (_name, parts, options, expected) => {
    expect(effectsOf({ ...parts, options: decline + options })).toEqual(expected)
  })

  test.each([
    ['its own', { ciaddr: '10.0.0.5' }, ['released allocation of 10.0.0.5']],
    ['that of another', { ciaddr: '10.0.0.6' }, 'address of another'],
    ['none', {}, 'address of another'],
    ['one, unknown', { ciaddr: '10.0.0.5', mac: macs.x }, 'unknown client'],
  ] as const)('releases %s', (_name, parts, expected) => {
    expect(effectsOf({ ...parts, options: release + server() })).toEqual(expected)
  })
})

describe('DHCPINFORM (RFC 2131 §4.3.5)', () => {
  const told = { type: 5, yiaddr: '0.0.0.0', to: '10.0.0.77:68' }

  test('is told the options, without an address or a lease', () => {
    const given = askedWith(world, { ciaddr: '10.0.0.77', options: inform + option(55, '0103') })
    expect(shown(given)).toMatchObject(told)
    expect(replied(given).codes).toEqual([53, 54, 1, 3])
    expect(given).toMatchObject({ effects: [], message: { ciaddr: numberOf('10.0.0.77') } })
  })

  test.each([
    ['no address, where the packet has one', {}, '10.0.0.77', told],
    ['no address at all', {}, '0.0.0.0', { nothing: 'malformed' }],
    [
      'an address of no subnet of the host',
      { ciaddr: '192.0.2.7' },
      '0.0.0.0',
      { nothing: 'no address' },
    ],
    [
      'an unknown MAC',
      { ciaddr: '10.0.0.77', mac: macs.x },
      '0.0.0.0',
      { nothing: 'unknown client' },
    ],
  ] as const)('with %s', (_name, parts, source, expected) => {
    const origin = { source: { address: numberOf(source), port: 68 } }
    const given = askedWith(world, { ...parts, options: inform }, { origin })
    expect(shown(given)).toMatchObject(expected)
  })

  test('is told what is set for its subnet', () => {
    const routerOf = (parts: object) =>
      replied(askedWith(world, { mac: macs.c, options: inform, ...parts })).options.get(3)
    expect(routerOf({ giaddr: '10.2.0.1' })).toBe('0a020001')
    expect(routerOf({ giaddr: '10.1.0.1', ciaddr: '10.2.0.9' })).toBe('0a020001')
    expect(routerOf({ giaddr: '10.1.0.1' })).toBe('0a010001')
  })

  test('through a relay goes back there, to all if it says no address', () => {
    const parts = { mac: macs.c, giaddr: '10.2.0.1', options: inform }
    const broadcasted = replied(askedWith(world, parts))
    expect(broadcasted).toMatchObject({ type: 5, to: '10.2.0.1:67', message: { flags: 0x8000 } })
    const direct = replied(askedWith(world, { ...parts, ciaddr: '10.2.0.99' }))
    expect(direct).toMatchObject({ type: 5, to: '10.2.0.1:67', message: { flags: 0 } })
  })
})

describe('automatic allocation', () => {
  const automatic = { automatic: { lease_seconds: 600 } }
  const open = worldOf(automatic)
  const parts = { mac: macs.x, options: discover + requested('10.0.0.99') }
  const held = (seconds: number) =>
    reservationOf(open.near, '10.0.0.99', { expires_at: now + seconds * 1000 })

  test('is wished for whoever is unknown, and only where that is allowed', () => {
    const given = askedWith(open, parts)
    expect(given).toMatchObject({
      wanted: {
        type: 'allocate',
        link: { id: 'net' },
        client: { mac: 0x5254000000ff },
        address: numberOf('10.0.0.99'),
        seconds: 120,
      },
    })
    const foreign = askedWith(open, { mac: macs.x, options: discover + requested('192.0.2.1') })
    expect(foreign).toMatchObject({ wanted: { type: 'allocate', address: null } })
    expect(shown(askedWith(world, parts))).toEqual({ nothing: 'unknown client' })
    expect(shown(askedWith(open, { ...parts, mac: macs.a }))).toMatchObject(offered)
    const nameless = askedWith(open, { ...parts, mac: '010000000001' })
    expect(shown(nameless)).toEqual({ nothing: 'malformed' })
  })

  test('is offered, and its hold renewed before the lease is told', () => {
    const offer = askedWith(open, parts, { outcome: { reservation: held(120) } })
    expect(shown(offer)).toMatchObject({ type: 2, yiaddr: '10.0.0.99' })
    expect(replied(offer).options.get(51)).toBe('00000258')

    const { bindings, near } = worldOf(automatic)
    const put = (seconds: number) =>
      bindings.putHost('net', {
        ...hostNamed('x', 0x5254000000ff, [{ ...held(seconds), subnet: near }]),
        is_automatic: true,
      })
    put(120)
    const taken = { mac: macs.x, options: request + server() + requested('10.0.0.99') }
    const ask = (more: Parameters<typeof askedWith>[2] = {}) => askedWith({ bindings }, taken, more)
    expect(ask()).toMatchObject({
      wanted: { type: 'renew', address: numberOf('10.0.0.99'), seconds: 600 },
    })
    const leased = ask({ outcome: { reservation: held(600) } })
    expect(shown(leased)).toMatchObject({ type: 5, yiaddr: '10.0.0.99' })
    expect(replied(leased).options.get(51)).toBe('00000258')

    put(590)
    expect(replied(ask()).options.get(51)).toBe('0000024e')
    put(0)
    expect(shown(ask())).toMatchObject({ type: 6 })
  })

  test('that is refused, or cannot be made now', () => {
    for (const outcome of ['refused', 'unavailable'] as const) {
      expect(shown(askedWith(open, parts, { outcome }))).toEqual({ nothing: 'not allocated' })
    }
    const short = worldOf({ ...automatic, is_automatic: true, a: { expires_at: now + 90_000 } })
    const renewing = { ciaddr: '10.0.0.5', options: request }
    const left = askedWith(short, renewing, { outcome: 'unavailable' })
    expect(replied(left).options.get(51)).toBe('0000005a')
    expect(shown(askedWith(short, renewing, { outcome: 'refused' }))).toMatchObject({ type: 6 })
    const fixed = askedWith(open, renewing, { outcome: 'refused' })
    expect(shown(fixed)).toMatchObject({ type: 5, yiaddr: '10.0.0.5' })
  })

  test('is no matter of holds that somebody made: they end when they end', () => {
    const hold = worldOf({ ...automatic, a: { expires_at: now + 90_000 } })
    for (const options of [discover, request + requested('10.0.0.5')]) {
      expect(replied(askedWith(hold, { options })).options.get(51)).toBe('0000005a')
    }
    const lapsed = worldOf({ ...automatic, a: { expires_at: now } })
    expect(shown(askedWith(lapsed, { options: discover }))).toEqual({ nothing: 'no address' })
  })

  test('of what lapsed begins anew', () => {
    const lapsed = worldOf({ ...automatic, is_automatic: true, a: { expires_at: now } })
    const options = discover + requested('10.0.0.5')
    expect(askedWith(lapsed, { options })).toMatchObject({
      wanted: { type: 'allocate', address: numberOf('10.0.0.5') },
    })
  })

  test('gives who declined an address another one', () => {
    const times = { expires_at: now + 600_000, declined_until: now + 600_000 }
    const declined = worldOf({ ...automatic, is_automatic: true, a: times })
    const options = discover + requested('10.0.0.5')
    expect(askedWith(declined, { options })).toMatchObject({
      wanted: { type: 'allocate', address: null },
    })
  })

  test('with two messages is for the whole lease, and never refused', () => {
    const rapid = worldOf({ ...automatic, link: { rapid_commit: true } })
    const quick = { mac: macs.x, options: `${discover}5000` }
    expect(askedWith(rapid, quick)).toMatchObject({ wanted: { type: 'allocate', seconds: 600 } })
    const given = askedWith(rapid, quick, { outcome: { reservation: held(600) } })
    expect(shown(given)).toMatchObject({ type: 5, yiaddr: '10.0.0.99' })
    const held90 = worldOf({
      ...automatic,
      is_automatic: true,
      link: { rapid_commit: true },
      a: { expires_at: now + 90_000 },
    })
    const again = { options: `${discover}5000` }
    expect(shown(askedWith(held90, again))).toEqual({ wanted: 'renew' })
    const denied = askedWith(held90, again, { outcome: 'refused' })
    expect(shown(denied)).toEqual({ nothing: 'not allocated' })
  })

  test('is spared who can do without IPv4 (RFC 8925 §3.3)', () => {
    const mostly6 = worldOf({ ...automatic, set: { 'ipv6-only-preferred': 1800 } })
    const asks = { mac: macs.x, options: discover + option(55, '01036c') }
    const { options, ...given } = replied(askedWith(mostly6, asks))
    expect(given).toMatchObject({ type: 2, yiaddr: '0.0.0.0' })
    expect(options.get(108)).toBe('00000708')
    expect(options.has(51)).toBe(false)
    const plain = { mac: macs.x, options: discover + option(55, '0103') }
    expect(shown(askedWith(mostly6, plain))).toEqual({ wanted: 'allocate' })
    const known = replied(askedWith(mostly6, { ...asks, mac: macs.a }))
    expect(known).toMatchObject({ yiaddr: '10.0.0.5' })
    expect(known.options.get(108)).toBe('00000708')
  })

  test('is not committed at once for who can do without IPv4, either', () => {
    const mostly6 = worldOf({ link: { rapid_commit: true }, set: { 'ipv6-only-preferred': 1800 } })
    const rapid = `${discover}5000`
    const asks = askedWith(mostly6, { options: rapid + option(55, '01036c') })
    expect(shown(asks)).toMatchObject({ type: 2, yiaddr: '10.0.0.5' })
    expect(shown(askedWith(mostly6, { options: rapid + option(55, '0103') }))).toMatchObject({
      type: 5,
    })
  })
})

test('servers with the same bindings answer alike, but for who they are', () => {
  for (const options of [
    discover,
    request + requested('10.0.0.5'),
    request + requested('192.0.2.1'),
  ]) {
    const [one, two] = [serverAddress, '10.0.0.4'].map(address => {
      const origin = { server: numberOf(address) }
      const { message, to } = replied(askedWith(worldOf(), { options }, { origin }))
      const said = new Map(message.options)
      said.delete(54)
      return { ...message, options: said, to }
    })
    expect(one).toEqual(two)
  }
})
