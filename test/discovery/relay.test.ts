import { describe, expect, test } from 'vitest'
import type { Cloud } from '../helpers/cloud.ts'
import { startDhclient, startDhcpcd, startUdhcpc } from '../helpers/dhcp-clients.ts'
import { DhcpProcess } from '../helpers/dhcp-process.ts'
import { option4 } from '../helpers/dhcp4-packets.ts'
import {
  clientId,
  duidLL,
  holding,
  iaNa,
  option,
  packet,
  plain,
  relayed,
  show,
  wants,
} from '../helpers/dhcp6.ts'
import { ask4, hears4, hexOfAddress, hexOfText, kindOf, serverOf } from '../helpers/exchanges.ts'
import { useField } from '../helpers/field.ts'
import type { Lab, Segment, Space } from '../helpers/netlab.ts'
import { PacketClient } from '../helpers/packet-client.ts'

/*
 * Two networks of the same CIDR, red and blue, behind one relay that says by which interface a client
 * came; and two more, green and grey, also of that CIDR, behind relays of their own, that say which
 * subnet is meant (RFC 3527). One process serves all four from the backbone.
 */

const cidr = '10.23.0.0/24'
const gateway = '10.23.0.1'
/** A relay that a test plays. */
const byHand = '172.23.0.40'
const server = { v4: '172.23.0.2', v6: 'fd72::2' }
const names = ['red', 'blue', 'green', 'grey'] as const
type Name = (typeof names)[number]

let cloud: Cloud
let lab: Lab
let backbone: Segment
const segments = {} as Record<Name, Segment>
const networks = {} as Record<Name, string>
const relays: Space[] = []

/** A machine that each network has: with the same MAC, in each with another address. */
const mac = '02:4d:4f:00:00:01'
const addressIn = (name: Name) => `10.23.0.${50 + names.indexOf(name)}`
const address6In = (name: Name) => `fd23::${50 + names.indexOf(name)}`

/** A relay with one foot on the backbone, and the gateway of each of some networks. */
async function addRelay(n: number, behind: readonly Name[]): Promise<Space> {
  const relay = await lab.space(`relay${n}`)
  const addresses = [`172.23.0.${10 + n}/24`, `fd72::${10 + n}/64`]
  await backbone.attach(relay, { device: 'eth0', addresses })
  for (const [place, name] of behind.entries()) {
    const own = [`${gateway}/24`, 'fd23::1/64']
    await segments[name].attach(relay, { device: `eth${place + 1}`, addresses: own })
  }
  relays.push(relay)
  return relay
}

useField(async field => {
  ;({ cloud, lab } = field)
  backbone = await lab.segment('backbone')
  const served = await backbone.machine('served', {
    addresses: [`${server.v4}/24`, `${server.v6}/64`],
  })
  for (const name of names) {
    segments[name] = await lab.segment(name)
    const scope_id = await cloud.scope(name)
    const { id } = await cloud.network({ name })
    networks[name] = id
    await cloud.block({ scope_id, cidr, network_id: id, gateway_ip: gateway })
    await cloud.block({ scope_id, cidr: 'fd23::/64', network_id: id })
    await cloud.option(`networks/${id}`, 4, 'domain-name', `${name}.example`)
    await cloud.option(`networks/${id}`, 6, 'domain-search', [`${name}.example`])
    await cloud.option(`networks/${id}`, 4, 'renewal-time', 2)
    await cloud.option(`networks/${id}`, 4, 'rebinding-time', 4)
    const addresses = [addressIn(name), address6In(name)]
    await cloud.interface(id, { mac_address: mac, addresses })
  }
  await Promise.all([backbone, ...Object.values(segments)].map(segment => segment.capture()))

  const shared = await addRelay(1, ['red', 'blue'])
  const own = [await addRelay(2, ['green']), await addRelay(3, ['grey'])]
  // The gateway of red and blue is that of one relay; others answer under their own addresses.
  await served.ip('route', 'add', `${gateway}/32`, 'via', '172.23.0.11')
  await DhcpProcess.start(cloud, {
    networks: [
      {
        id: networks.red,
        relays: [
          { address: gateway, circuit_id: 'eth1' },
          { address: 'fd23::1', circuit_id: '0x01000000' },
        ],
      },
      {
        id: networks.blue,
        relays: [
          { address: gateway, circuit_id: 'eth2' },
          { address: 'fd23::1', circuit_id: '0x02000000' },
        ],
      },
      { id: networks.green, relays: [{ address: '172.23.0.12' }] },
      { id: networks.grey, relays: [{ address: '172.23.0.13' }, { address: byHand }] },
    ],
    relay_listen: [
      { address: server.v4, namespace: served.name },
      { address: server.v6, namespace: served.name },
    ],
  })

  const flags = ['-d', '-4', '--no-pid', '-a', '-m', 'append']
  const started = [
    shared.start('dhcrelay', ...flags, '-iu', 'eth0', '-id', 'eth1', '-id', 'eth2', server.v4),
    ...own.map(relay => relay.start('dhcrelay', ...flags, '-U', 'eth0', '-id', 'eth1', server.v4)),
    shared.start(
      ...['dhcrelay', '-6', '-d', '--no-pid', '-I', '-l', 'eth1#1', '-l', 'eth2#2'],
      ...['-u', `${server.v6}%eth0`],
    ),
  ]
  await Promise.all(started.map(relay => relay.heard(/Sending on/)))
})

describe('a real relay', () => {
  test.concurrent.each(names)('a client of %s gets the answer of its network', async name => {
    const machine = await segments[name].machine(`of-${name}`, { mac })
    const client = startDhclient(machine)
    expect(await client.tells('bound')).toMatchObject({
      address: addressIn(name),
      domain: `${name}.example`,
      routers: [gateway],
    })
    // Its server is beyond the relay; who is not answered by it asks all, through the relay.
    expect(await client.tells('renewed')).toMatchObject({ address: addressIn(name) })
    await client.program.stop()

    const giaddr = { green: '172.23.0.12', grey: '172.23.0.13', red: gateway, blue: gateway }
    const circuit = name === 'blue' ? 'eth2' : 'eth1'
    const [lease] = await cloud.leases(`network_id=${networks[name]}&address=${addressIn(name)}`)
    expect(lease?.relay).toMatchObject({
      address: giaddr[name],
      circuit_id: hexOfText(circuit),
    })
  })

  test('udhcpc and dhcpcd get theirs, too', async () => {
    const red = await segments.red.machine('busybox', { mac })
    const blue = await segments.blue.machine('roy', { mac })
    const [one, other] = [startUdhcpc(red), startDhcpcd(blue)]
    expect(await one.tells('bound')).toMatchObject({ address: addressIn('red') })
    expect(await other.tells('bound')).toMatchObject({ address: addressIn('blue') })
  })

  test.concurrent.each(['red', 'blue'] as const)(
    'an IPv6 client of %s gets the answer of it',
    async name => {
      const machine = await segments[name].machine(`six-${name}`, { mac })
      const told = await startDhclient(machine, { version: 6 }).tells('bound')
      expect(told).toMatchObject({ address: address6In(name), search: [`${name}.example`] })
    },
  )
})

describe('relays that say more', () => {
  const from = byHand
  let relay: PacketClient
  const open = async () => {
    relay ??= await PacketClient.open(
      await backbone.machine('made-by-hand', {
        addresses: [`${from}/24`, '172.23.0.41/24', 'fd72::40/64'],
      }),
      { places: ['4:67', '6:547'] },
    )
    return relay
  }
  const way = { place: '4:67', to: { address: server.v4 } }

  test('the server identifier is that which the relay asks for (RFC 5107)', async () => {
    const made = await open()
    const chosen = option4(5, hexOfAddress(gateway)) + option4(11, hexOfAddress(gateway))
    const said = option4(1, hexOfText('port-7')) + chosen
    const ask = { mac, giaddr: from, options: { 82: said } }
    const offer = await ask4(made, 'discover', ask, way)
    expect(offer).toMatchObject({ yiaddr: addressIn('grey'), giaddr: from })
    expect(offer.options.get(82)).toBe(said)
    expect(serverOf(offer)).toBe(gateway)
    const request = { ...ask, address: offer.yiaddr, server: gateway }
    expect(kindOf(await ask4(made, 'request', request, way))).toBe('ack')
  })

  test('a relay behind a relay (RFC 8415 §19)', async () => {
    const made = await open()
    const solicit = plain(
      'solicit',
      clientId(duidLL(mac.replaceAll(':', ''))),
      wants(24),
      iaNa(1, []),
    )
    const inner = relayed(
      'forward',
      0,
      ['fd23::1', 'fe80::4d:4fff:fe00:1'],
      option(18, '02000000'),
      option(79, '0001', mac.replaceAll(':', '')),
      holding(solicit),
    )
    const outer = relayed('forward', 1, ['::', 'fd72::99'], holding(inner))
    made.send(packet(outer), { place: '6:547', to: { address: server.v6 } })
    const answer = await made.receives('a Relay-reply', ({ place }) => place === '6:547')
    const [first, second, third] = show(answer.bytes)
    expect(first).toMatch(/^back 1 :: fd72::99/)
    expect(second).toMatch(/^back 0 fd23::1 fe80::4d:4fff:fe00:1/)
    expect(second).toContain('18=02000000')
    expect(third).toContain(`${address6In('blue')}=`)
  })

  test('who is behind a relay that is not named gets nothing', async () => {
    const made = await open()
    const chosen = { 82: option4(5, hexOfAddress(gateway)) }
    const ask = { mac, giaddr: '172.23.0.41', options: chosen }
    const other = { mac, giaddr: from, options: chosen }
    const asked = { kind: 'discover', ask, other, way, otherWay: way } as const
    expect(await hears4(made, asked)).toBeNull()
  })
})
