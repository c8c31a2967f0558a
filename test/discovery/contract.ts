import { describe, expect, test } from 'vitest'
import type { Interface } from '../../src/resources/interfaces/schema.ts'
import type { Cloud } from '../helpers/cloud.ts'
import { startDhclient, startDhcpcd, startUdhcpc } from '../helpers/dhcp-clients.ts'
import { DhcpProcess } from '../helpers/dhcp-process.ts'
import { iaNa, iaPd, address as namedAddress } from '../helpers/dhcp6.ts'
import {
  type Ask4,
  acquire4,
  acquire6,
  ask4,
  ask6,
  givenIn,
  hears4,
  hears6,
  hexOfAddress,
  hexOfText,
  kindOf,
  tell4,
  toldIn,
} from '../helpers/exchanges.ts'
import { useField } from '../helpers/field.ts'
import type { Segment, Space } from '../helpers/netlab.ts'
import { PacketClient } from '../helpers/packet-client.ts'
import { waitUntil } from '../helpers/race-load.ts'

export type DriverName = 'builtin' | 'dnsmasq' | 'kea'

/**
 * Where a driver is known to differ, and why, by the name of the test. There the test has to fail: what
 * is listed here and works is an error, too.
 */
const differences: Readonly<Record<string, { readonly [K in DriverName]?: string }>> = {
  'a machine is told only what it asks for': {
    kea: 'Kea tells the domain name and its servers in any case',
  },
  'a delegated prefix is given': { dnsmasq: 'dnsmasq has no prefix delegation' },
}

/** What a driver needs beside the networks, made before each run: settings of src/discovery/config.ts. */
type Settings = () => Promise<Readonly<Record<string, unknown>>>

const mac = (n: number) => `02:4d:4c:00:00:${n.toString(16).padStart(2, '0')}`
const hosts = {
  a: { mac: mac(1), v4: '10.20.0.11', v6: 'fd20::11' },
  own: { mac: mac(2), v4: '10.20.0.12' },
  named: { client_id: 'ff4d4c000100030001024d4c0000fe', v4: '10.20.0.13' },
  duid: { duid: '00030001024d4c0000fd', v6: 'fd20::14' },
  declining: { mac: mac(5), v4: '10.20.0.15' },
  leaving: { mac: mac(6), v4: '10.20.0.16' },
  delegated: { mac: mac(7), v6: 'fd20::17', prefix: 'fd21:0:0:100::/56' },
  isc: { mac: mac(8), v4: '10.20.0.18', v6: 'fd20::18' },
  busybox: { mac: mac(9), v4: '10.20.0.19' },
  dhcpcd: { mac: mac(10), v4: '10.20.0.20', v6: 'fd20::20' },
  open: { mac: mac(33), v4: '10.30.0.33' },
}
const serverAddress = '10.20.0.2'
const leaseSeconds = 1800

/** What the subnet tells, as its bytes; the search list as text, as it may be compressed or not. */
const toldOnLan = {
  1: 'ffffff00',
  3: hexOfAddress('10.20.0.1'),
  6: hexOfAddress('10.20.0.53') + hexOfAddress('10.20.0.54'),
  15: hexOfText('lan.example'),
  26: '0578',
  42: hexOfAddress('10.20.0.123'),
  119: 'lan.example corp.example',
  121: `00${hexOfAddress('10.20.0.1')}18c00002${hexOfAddress('10.20.0.254')}`,
}

const toldToClients = {
  prefix_length: 24,
  routers: ['10.20.0.1'],
  dns: ['10.20.0.53', '10.20.0.54'],
  domain: 'lan.example',
  search: ['lan.example', 'corp.example'],
  ntp: ['10.20.0.123'],
  mtu: 1400,
  routes: ['0.0.0.0/0 via 10.20.0.1', '192.0.2.0/24 via 10.20.0.254'],
  lease_seconds: leaseSeconds,
  server: serverAddress,
}

type Nics = Record<Exclude<keyof typeof hosts, 'open'>, Interface>

/** The same data for each driver, made through the API. */
async function makeData(cloud: Cloud) {
  const scope_id = await cloud.scope('contract')
  const lan = await cloud.network({ name: 'lan', mtu: 1400 })
  const v4 = await cloud.block({
    scope_id,
    cidr: '10.20.0.0/24',
    network_id: lan.id,
    gateway_ip: '10.20.0.1',
    dns_nameservers: ['10.20.0.53', '10.20.0.54'],
  })
  const v6 = await cloud.block({
    scope_id,
    cidr: 'fd20::/64',
    network_id: lan.id,
    dns_nameservers: ['fd20::53'],
  })
  const prefixes = await cloud.block({ scope_id, cidr: 'fd21::/48', network_id: lan.id })
  const route = { destination: '192.0.2.0/24', gateway: '10.20.0.254' }
  await cloud.make(`/v2/blocks/${v4.id}/routes`, route)
  await cloud.option(`networks/${lan.id}`, 4, 'domain-name', 'lan.example')
  await cloud.option(`networks/${lan.id}`, 4, 'domain-search', ['lan.example', 'corp.example'])
  await cloud.option(`networks/${lan.id}`, 6, 'domain-search', ['lan.example', 'corp.example'])
  await cloud.option(`blocks/${v4.id}`, 4, 'ntp-servers', ['10.20.0.123'])
  await cloud.option(`blocks/${v6.id}`, 6, 'bootfile-url', 'tftp://[fd20::9]/boot')

  const nic = (more: object) => cloud.interface(lan.id, more)
  const known = ({ mac: mac_address, v4, v6 }: { mac: string; v4?: string; v6?: string }) =>
    nic({ mac_address, addresses: [v4, v6].filter(one => one !== undefined) })
  const nics: Nics = {
    a: await nic({ mac_address: hosts.a.mac, addresses: [hosts.a.v6] }),
    own: await known(hosts.own),
    named: await nic({
      mac_address: null,
      client_id: hosts.named.client_id,
      addresses: [hosts.named.v4],
    }),
    duid: await nic({
      mac_address: null,
      duid: hosts.duid.duid,
      iaid: 7,
      addresses: [hosts.duid.v6],
    }),
    declining: await known(hosts.declining),
    leaving: await known(hosts.leaving),
    delegated: await known(hosts.delegated),
    isc: await known(hosts.isc),
    busybox: await known(hosts.busybox),
    dhcpcd: await known(hosts.dhcpcd),
  }
  // A name of an allocation is the name of the host.
  const owner = { owner_type: 'interface', owner_id: nics.a.id, name: 'web-1' }
  await cloud.allocate({ block_id: v4.id, address: hosts.a.v4, ...owner })
  await cloud.allocate({
    block_id: prefixes.id,
    address: hosts.delegated.prefix,
    owner_type: 'interface',
    owner_id: nics.delegated.id,
  })
  for (const [name, value] of Object.entries({
    mtu: 1300,
    'dns-servers': ['10.20.0.99'],
    'host-name': 'special',
  })) {
    await cloud.option(`interfaces/${nics.own.id}`, 4, name, value)
  }

  const policy_id = await cloud.policy({
    unknown_clients: { project_id: 'red', lease_seconds: 600 },
  })
  const open = await cloud.network({ name: 'open', policy_id })
  const open4 = { scope_id, cidr: '10.30.0.0/24', network_id: open.id, gateway_ip: '10.30.0.1' }
  await cloud.block(open4)
  await cloud.block({ scope_id, cidr: 'fd30::/64', network_id: open.id })
  await cloud.interface(open.id, { mac_address: hosts.open.mac, addresses: [hosts.open.v4] })
  // The servers' own addresses are nobody else's.
  await cloud.allocate({ network_id: lan.id, address: serverAddress })
  await cloud.allocate({ network_id: open.id, address: '10.30.0.2' })
  return { lan, open, v4, nics }
}

/** What every driver has to do, with the same data. */
export function describeDriver(driver: DriverName, settings: Settings = async () => ({})): void {
  describe(`the driver ${driver}`, () => {
    let cloud: Cloud
    let process: DhcpProcess
    let data: Awaited<ReturnType<typeof makeData>>
    let lan: Segment
    let open: Segment
    let client: PacketClient
    let openClient: PacketClient
    let space: Space

    useField(async field => {
      cloud = field.cloud
      lan = await field.lab.segment('lan')
      open = await field.lab.segment('open')
      await Promise.all([lan.capture(), open.capture()])
      const served = await lan.machine('served', { addresses: ['10.20.0.2/24', 'fd20::2/64'] })
      const other = await open.machine('other', { addresses: ['10.30.0.2/24', 'fd30::2/64'] })
      space = await lan.machine('client')
      client = await PacketClient.open(space)
      openClient = await PacketClient.open(await open.machine('stranger', { mac: mac(90) }))
      data = await makeData(cloud)
      process = await DhcpProcess.start(cloud, {
        driver,
        networks: [
          { id: data.lan.id, interface: 'eth0', namespace: served.name },
          { id: data.open.id, interface: 'eth0', namespace: other.name },
        ],
        lease_seconds: leaseSeconds,
        ...(await settings()),
      })
    })

    const contract = (name: string, run: () => Promise<void>) => {
      const isDifferent = differences[name]?.[driver] !== undefined
      ;(isDifferent ? test.fails : test)(name, run)
    }
    const sentinel: Ask4 = { mac: hosts.busybox.mac }
    const readable = (told: Record<number, string>) =>
      told[119] === undefined ? told : { ...told, 119: domainsOf(told[119]).join(' ') }
    const leaseOf = async (address: string, fits: (lease: Lease) => boolean) => {
      let found: Lease | undefined
      await waitUntil(
        `a lease of ${address}`,
        async () => {
          const leases = await cloud.leases(`network_id=${data.lan.id}`)
          found = leases.find(lease => lease.address === address && fits(lease))
          return found !== undefined
        },
        20,
      )
      return found as Lease
    }

    contract('a known machine gets its address, and exactly what its subnet tells', async () => {
      const offer = await ask4(client, 'discover', { mac: hosts.a.mac })
      expect(kindOf(offer)).toBe('offer')
      const ack = await acquire4(client, { mac: hosts.a.mac })
      expect(ack).toMatchObject({ yiaddr: hosts.a.v4, server: serverAddress })
      expect(readable(toldIn(ack))).toEqual({ ...toldOnLan, 12: hexOfText('web-1') })
      expect(readable(toldIn(offer))).toEqual(readable(toldIn(ack)))
      expect(Number.parseInt(ack.options.get(51) ?? '', 16)).toBe(leaseSeconds)
    })

    contract('dhclient, udhcpc and dhcpcd are told the same', async () => {
      const clients = await Promise.all(
        (
          [
            ['isc', startDhclient],
            ['busybox', startUdhcpc],
            ['dhcpcd', startDhcpcd],
          ] as const
        ).map(async ([name, start]) => {
          const machine = await lan.machine(name, { mac: hosts[name].mac })
          const told = await start(machine).tells('bound')
          expect(told).toMatchObject({ ...toldToClients, address: hosts[name].v4 })
          return machine
        }),
      )
      expect(await clients[0]?.addresses('eth0')).toEqual([`${hosts.isc.v4}/24`])
    })

    contract('what is set on an interface stands above', async () => {
      const ack = await acquire4(client, { mac: hosts.own.mac })
      expect(ack.yiaddr).toBe(hosts.own.v4)
      expect(readable(toldIn(ack))).toEqual({
        ...toldOnLan,
        6: hexOfAddress('10.20.0.99'),
        12: hexOfText('special'),
        26: '0514',
      })
    })

    contract('a machine is told only what it asks for', async () => {
      const ack = await acquire4(client, { mac: hosts.a.mac, wants: [3, 26] })
      const { 1: _mask, ...told } = toldIn(ack)
      expect(told).toEqual({ 3: toldOnLan[3], 26: toldOnLan[26] })
    })

    contract('a machine is known by its client identifier', async () => {
      const { client_id, v4 } = hosts.named
      expect(await acquire4(client, { mac: mac(77), client_id })).toMatchObject({ yiaddr: v4 })
    })

    contract('an unknown machine gets nothing', async () => {
      const unknown: Ask4 = { mac: mac(66) }
      const kind = 'discover'
      expect(await hears4(client, { kind, ask: unknown, other: sentinel })).toBeNull()
      const machine = await lan.machine('unknown', { mac: mac(67) })
      await startUdhcpc(machine).getsNothing()
    })

    contract('who asks for the address of another is refused it', async () => {
      const ask: Ask4 = { mac: hosts.own.mac, address: hosts.a.v4 }
      expect(kindOf(await ask4(client, 'request', ask))).toBe('nak')
      expect((await ask4(client, 'discover', ask)).yiaddr).toBe(hosts.own.v4)
    })

    contract('a new interface is served within a second', async () => {
      const ask: Ask4 = { mac: mac(50) }
      await cloud.interface(data.lan.id, { mac_address: ask.mac, addresses: ['10.20.0.50'] })
      const made = performance.now()
      await waitUntil(
        'it is served',
        () => {
          tell4(client, 'discover', ask)
          return client.received.some(({ bytes }) => bytes.includes(Buffer.from([10, 20, 0, 50])))
        },
        10,
      )
      expect(performance.now() - made).toBeLessThan(1000)
      expect(await acquire4(client, ask)).toMatchObject({ yiaddr: '10.20.0.50' })
    })

    contract('a released address is given no longer, and goes to its next owner', async () => {
      const { mac: old, v4: address } = hosts.leaving
      expect((await acquire4(client, { mac: old })).yiaddr).toBe(address)
      await cloud.remove(`/v2/interfaces/${data.nics.leaving.id}`)
      const again = { kind: 'request', ask: { mac: old, address }, other: sentinel } as const
      await waitUntil(
        'it is refused',
        async () => {
          const heard = await hears4(client, again)
          return heard === null || kindOf(heard) === 'nak'
        },
        5,
      )
      expect(
        await hears4(client, { kind: 'discover', ask: { mac: old }, other: sentinel }),
      ).toBeNull()

      const next: Ask4 = { mac: mac(51) }
      await cloud.interface(data.lan.id, { mac_address: next.mac, addresses: [address] })
      expect(await acquire4(client, next)).toMatchObject({ yiaddr: address })
    })

    contract('an address that moves to another machine is told to that', async () => {
      const [from, to]: Ask4[] = [{ mac: mac(52) }, { mac: mac(53) }]
      if (!from || !to) throw new RangeError('there are two')
      const made = { mac_address: from.mac, addresses: ['10.20.0.60', '10.20.0.61'] }
      const nic = await cloud.interface(data.lan.id, made)
      const other = await cloud.interface(data.lan.id, { mac_address: to.mac })
      const first = await acquire4(client, from)
      const moved = nic.addresses.find(({ address }) => address === first.yiaddr)
      await cloud.remove(`/v2/allocations/${moved?.allocation_id}`)
      await cloud.make(`/v2/interfaces/${other.id}/addresses`, { addresses: [first.yiaddr] })
      expect((await acquire4(client, to)).yiaddr).toBe(first.yiaddr)
      const rest = ['10.20.0.60', '10.20.0.61'].filter(one => one !== first.yiaddr)
      expect([(await acquire4(client, from)).yiaddr]).toEqual(rest)
    })

    contract('options that change are served', async () => {
      await cloud.option(`networks/${data.lan.id}`, 4, 'domain-name', 'new.example')
      await waitUntil(
        'the new name is told',
        async () => {
          const { options } = await ask4(client, 'discover', { mac: hosts.a.mac })
          return options.get(15) === hexOfText('new.example')
        },
        3,
      )
      await cloud.option(`networks/${data.lan.id}`, 4, 'domain-name', 'lan.example')
    })

    contract('leases are known to the API', async () => {
      const asked = Date.now()
      await acquire4(client, { mac: hosts.own.mac, options: { 12: hexOfText('its-own-name') } })
      const lease = await leaseOf(
        hosts.own.v4,
        ({ told_at, state }) => state === 'bound' && Date.parse(told_at) >= asked - 1000,
      )
      const [held] = data.nics.own.addresses
      expect(lease).toMatchObject({
        allocation_id: held?.allocation_id,
        mac_address: hosts.own.mac,
        host_name: 'its-own-name',
        relay: null,
      })
      const length = Date.parse(lease.ends_at ?? '') - Date.parse(lease.told_at)
      expect(Math.abs(length / 1000 - leaseSeconds)).toBeLessThan(3)
    })

    contract('a machine that releases its address gets it again', async () => {
      const { mac: address, v4 } = hosts.own
      await acquire4(client, { mac: address })
      await space.ip('addr', 'add', `${v4}/24`, 'dev', 'eth0')
      const ask: Ask4 = { mac: address, ciaddr: v4, server: serverAddress }
      tell4(client, 'release', ask, { to: { address: serverAddress } })
      await leaseOf(v4, ({ state }) => state === 'released')
      await space.ip('addr', 'del', `${v4}/24`, 'dev', 'eth0')
      expect((await acquire4(client, { mac: address })).yiaddr).toBe(v4)
    })

    contract('an address that a machine declines is told to nobody', async () => {
      const { mac: address, v4 } = hosts.declining
      const { server } = await acquire4(client, { mac: address })
      tell4(client, 'decline', { mac: address, address: v4, server })
      await leaseOf(v4, ({ state }) => state === 'declined')
      await waitUntil(
        'it is withheld',
        async () => {
          const ask = { kind: 'discover', ask: { mac: address }, other: sentinel } as const
          return (await hears4(client, ask))?.yiaddr !== v4
        },
        5,
      )
      const events = await cloud.events('lease.declined')
      expect(events.map(({ data }) => data.address)).toContain(v4)
    })

    contract('an unknown machine gets an address where a policy says so', async () => {
      const ask: Ask4 = { mac: mac(91), options: { 12: hexOfText('visitor') } }
      const ack = await acquire4(openClient, ask)
      expect(ack.yiaddr).toMatch(/^10\.30\.0\./)
      const seconds = Number.parseInt(ack.options.get(51) ?? '', 16)
      expect(seconds).toBeLessThanOrEqual(600)
      const [held, ...more] = await cloud.held(ask.mac)
      expect(more).toEqual([])
      expect(held).toMatchObject({ address: ack.yiaddr, project_id: 'red' })
      // What it was told ends before the hold does.
      const left = Date.parse(held?.expires_at ?? '') - Date.now()
      expect(left / 1000).toBeGreaterThan(seconds - 5)
      expect(left / 1000).toBeLessThanOrEqual(600)

      // Asked again it is the same, and lasts longer.
      const again = await acquire4(openClient, ask)
      expect(again.yiaddr).toBe(ack.yiaddr)
      const [renewed] = await cloud.held(ask.mac)
      expect(Date.parse(renewed?.expires_at ?? '')).toBeGreaterThanOrEqual(
        Date.parse(held?.expires_at ?? ''),
      )
      // Another one gets another; a known one its own.
      expect((await acquire4(openClient, { mac: mac(92) })).yiaddr).not.toBe(ack.yiaddr)
      expect((await acquire4(openClient, { mac: hosts.open.mac })).yiaddr).toBe(hosts.open.v4)
    })

    contract('what an unknown machine releases is free again', async () => {
      const ask: Ask4 = { mac: mac(93) }
      const { yiaddr, server } = await acquire4(openClient, ask)
      expect(await cloud.held(ask.mac)).toHaveLength(1)
      const stranger = await open.machine('leaver', { addresses: [`${yiaddr}/24`] })
      const leaver = await PacketClient.open(stranger)
      const to = { address: server }
      tell4(leaver, 'release', { ...ask, ciaddr: yiaddr, server }, { to })
      await waitUntil('it is released', async () => (await cloud.held(ask.mac)).length === 0, 20)
    })

    contract('a machine gets its IPv6 address, and exactly what its subnet tells', async () => {
      const machine = await lan.machine('a6', { mac: hosts.a.mac })
      const client6 = await PacketClient.open(machine)
      const ask = { mac: hosts.a.mac, wants: [23, 24, 59] }
      const reply = await acquire6(client6, ask)
      expect(givenIn(reply)).toEqual([hosts.a.v6])
      expect(reply.text).toContain(`-${leaseSeconds}`)
      // The preference is of the exchange: dnsmasq says that nobody need be waited for.
      const told = new Set(reply.text.split(' ').filter(word => /^(?!7=)\d+=/.test(word)))
      const search = '036c616e076578616d706c6500' + '04636f7270076578616d706c6500'
      expect(told).toEqual(
        new Set([
          '23=fd200000000000000000000000000053',
          `24=${search}`,
          `59=${hexOfText('tftp://[fd20::9]/boot')}`,
        ]),
      )
      const lease = await leaseOf(hosts.a.v6, ({ state }) => state === 'bound')
      expect(lease.duid).toBe(`00030001${hosts.a.mac.replaceAll(':', '')}`)

      const options = [reply.server, iaNa(1, [namedAddress(hosts.a.v6)])]
      const renewed = await ask6(client6, 'renew', { ...ask, options })
      expect(givenIn(renewed)).toEqual([hosts.a.v6])
      await ask6(client6, 'release', { ...ask, options })
      await leaseOf(hosts.a.v6, ({ state }) => state === 'released')
    })

    contract('a machine is known by its DUID', async () => {
      const { duid, v6 } = hosts.duid
      const machine = await lan.machine('d6', { mac: mac(78) })
      const client6 = await PacketClient.open(machine)
      const reply = await acquire6(client6, { duid, options: [iaNa(7, [])] })
      expect(givenIn(reply)).toEqual([v6])
    })

    contract('an unknown machine gets no IPv6 address', async () => {
      const machine = await lan.machine('u6', { mac: mac(79) })
      const client6 = await PacketClient.open(machine)
      const { mac: known, v6 } = hosts.isc
      const other = await PacketClient.open(await lan.machine('k6', { mac: known }))
      const ask = { mac: mac(79) }
      const heard = await hears6(client6, { kind: 'solicit', ask }, async () => {
        expect(givenIn(await ask6(other, 'solicit', { mac: known }))).toEqual([v6])
      })
      expect(heard && givenIn(heard)).toEqual(heard && [])
    })

    contract('dhclient and dhcpcd get their IPv6 addresses', async () => {
      const isc = await lan.machine('isc6', { mac: hosts.isc.mac })
      const roy = await lan.machine('dhcpcd6', { mac: hosts.dhcpcd.mac })
      const dhclient = startDhclient(isc, { version: 6, args: ['-D', 'LL'] })
      const config = ['duid ll', 'interface eth0', 'ia_na 1']
      const dhcpcd = startDhcpcd(roy, { version: 6, config })
      const told = { dns: ['fd20::53'], search: ['lan.example', 'corp.example'] }
      const lease_seconds = leaseSeconds
      const first = await dhclient.tells('bound')
      expect(first).toMatchObject({ ...told, lease_seconds, address: hosts.isc.v6 })
      const second = await dhcpcd.tells('bound')
      expect(second).toMatchObject({ ...told, lease_seconds, address: hosts.dhcpcd.v6 })
    })

    contract('a delegated prefix is given', async () => {
      const { mac: known, v6, prefix } = hosts.delegated
      const client6 = await PacketClient.open(await lan.machine('pd', { mac: known }))
      const options = [iaNa(1, []), iaPd(2, [])]
      const reply = await acquire6(client6, { mac: known, options })
      expect(givenIn(reply).sort()).toEqual([v6, prefix].sort())
    })

    contract('an unknown machine gets an IPv6 address where a policy says so', async () => {
      // A real one, which asks again where the first answer is that there is none yet.
      const machine = await open.machine('visitor6', { mac: mac(94) })
      const args = ['-D', 'LL']
      const { address } = await startDhclient(machine, { version: 6, args }).tells('bound')
      expect(address).toMatch(/^fd30::/)
      const [held, ...more] = await cloud.holding(address ?? '')
      expect(more).toEqual([])
      const duid = `00030001${mac(94).replaceAll(':', '')}`
      expect(held?.owner_id).toContain(`duid:${duid}/`)
      expect(held).toMatchObject({ owner_type: 'dhcp_client', project_id: 'red' })
      const left = Date.parse(held?.expires_at ?? '') - Date.now()
      expect(left / 1000).toBeGreaterThan(0)
      expect(left / 1000).toBeLessThanOrEqual(600)
    })

    contract('it starts and answers without the API, and reports what it told', async () => {
      await cloud.kill()
      expect(await process.stop()).toBe(0)
      await process.start()
      const asked = Date.now()
      const ack = await acquire4(client, { mac: hosts.a.mac })
      expect(ack.yiaddr).toBe(hosts.a.v4)
      expect(readable(toldIn(ack))).toEqual({ ...toldOnLan, 12: hexOfText('web-1') })
      const health = await process.health()
      expect(health).toMatchObject({ status: 'degraded', api: { is_connected: false } })
      expect(health.leases_pending).toBeGreaterThan(0)

      await cloud.start()
      await leaseOf(hosts.a.v4, ({ told_at }) => Date.parse(told_at) >= asked - 1000)
      await waitUntil('all is well', async () => (await process.health()).status === 'ok', 20)
      expect((await process.health()).leases_pending).toBe(0)
    })
  })
}

type Lease = Awaited<ReturnType<Cloud['leases']>>[number]

/** Names on the wire (RFC 1035 §3.1), which may be compressed within the option (RFC 3397 §2). */
function domainsOf(hex: string): string[] {
  const bytes = Buffer.from(hex, 'hex')
  const names: string[] = []
  const nameAt = (start: number): { labels: string[]; next: number } => {
    const labels: string[] = []
    for (let place = start; ; ) {
      const length = bytes[place] ?? 0
      if (length === 0) return { labels, next: place + 1 }
      if (length >= 0xc0) {
        const target = bytes.readUInt16BE(place) & 0x3fff
        return { labels: [...labels, ...nameAt(target).labels], next: place + 2 }
      }
      labels.push(bytes.toString('latin1', place + 1, place + 1 + length))
      place += 1 + length
    }
  }
  for (let place = 0; place < bytes.length; ) {
    const { labels, next } = nameAt(place)
    names.push(labels.join('.'))
    place = next
  }
  return names
}
