import { afterAll, describe, expect, test } from 'vitest'
import type { Capture } from '../helpers/capture.ts'
import type { Cloud } from '../helpers/cloud.ts'
import {
  type DhcpClient,
  releaseDhclient,
  startDhclient,
  startDhcpcd,
  startUdhcpc,
} from '../helpers/dhcp-clients.ts'
import { DhcpProcess } from '../helpers/dhcp-process.ts'
import { type Packet4, readPacket } from '../helpers/dhcp4-packets.ts'
import { kindOf } from '../helpers/exchanges.ts'
import { useField } from '../helpers/field.ts'
import type { Segment, Space } from '../helpers/netlab.ts'
import { waitUntil } from '../helpers/race-load.ts'

// The whole life of a lease, with real clients and two servers that know nothing of each other.

const servers = ['10.21.0.2', '10.21.0.3'] as const
const leaseSeconds = 60
/** T1 and T2: clients renew after two seconds, and ask all servers after four. */
const [renewal, rebinding] = [2, 4]

let cloud: Cloud
let lan: Segment
let capture: Capture
let network_id: string
let first: DhcpProcess
let second: DhcpProcess

useField(async field => {
  cloud = field.cloud
  lan = await field.lab.segment('lan')
  capture = await lan.capture()
  const scope_id = await cloud.scope('clients')
  network_id = (await cloud.network({ name: 'lan' })).id
  await cloud.block({ scope_id, cidr: '10.21.0.0/24', network_id, gateway_ip: '10.21.0.1' })
  for (const address of servers) await cloud.allocate({ network_id, address })
  await cloud.option(`networks/${network_id}`, 4, 'renewal-time', renewal)
  await cloud.option(`networks/${network_id}`, 4, 'rebinding-time', rebinding)
  const [one, other] = await Promise.all(
    servers.map(async (address, n) => {
      const space = await lan.machine(`server${n}`, { addresses: [`${address}/24`] })
      const networks = [{ id: network_id, interface: 'eth0', namespace: space.name }]
      const settings = { name: `server-${n}`, networks, lease_seconds: leaseSeconds }
      return DhcpProcess.start(cloud, settings)
    }),
  )
  if (!one || !other) throw new RangeError('there are two')
  first = one
  second = other
})

const clients: DhcpClient[] = []
afterAll(async () => {
  await Promise.all(clients.splice(0).map(({ program }) => program.stop()))
})

let machines = 0

/** A machine with an interface of its own. */
async function newMachine(): Promise<{ space: Space; mac: string; address: string }> {
  machines += 1
  const name = `machine${machines}`
  const mac = `02:4d:4d:00:00:${machines.toString(16).padStart(2, '0')}`
  const address = `10.21.0.${100 + machines}`
  await cloud.interface(network_id, { mac_address: mac, addresses: [address] })
  return { space: await lan.machine(name, { mac }), mac, address }
}

const started = (client: DhcpClient): DhcpClient => {
  clients.push(client)
  return client
}

type Message = Packet4 & { readonly to: string }

/** What went over the link from or to a machine. */
const messagesOf = (mac: string): Message[] =>
  capture
    .seen()
    .map(({ payload, to }) => ({ ...readPacket(payload), to: to.address }))
    .filter(one => one.mac === mac.replaceAll(':', ''))

const kinds = {
  'dhclient, which never sets the broadcast flag': [startDhclient, {}, 0],
  'udhcpc, without it': [startUdhcpc, {}, 0],
  'udhcpc, with it': [startUdhcpc, { args: ['-B'] }, 0x8000],
  'dhcpcd, without it': [startDhcpcd, {}, 0],
  'dhcpcd, with it': [startDhcpcd, { args: ['-J'] }, 0x8000],
} as const

describe('a lease begins', () => {
  test.each(Object.entries(kinds))('with %s', async (_name, [start, how, flags]) => {
    const { space, mac, address } = await newMachine()
    const told = await started(start(space, how)).tells('bound')
    expect(told).toMatchObject({ address, prefix_length: 24, routers: ['10.21.0.1'] })
    expect(told.lease_seconds).toBe(leaseSeconds)
    expect(servers).toContain(told.server)
    const discovers = messagesOf(mac).filter(one => kindOf(one) === 'discover')
    expect(new Set(discovers.map(one => one.flags & 0x8000))).toEqual(new Set([flags]))
    expect(await space.addresses('eth0')).toEqual([`${address}/24`])
  })
})

const all = [
  ['dhclient', startDhclient],
  ['udhcpc', startUdhcpc],
  ['dhcpcd', startDhcpcd],
] as const

/** udhcpc knows no T1 of less than a minute, but a signal. */
const askToRenew = (name: string, { program }: DhcpClient) => {
  if (name === 'udhcpc') program.child.kill('SIGUSR1')
}

describe.concurrent('a lease goes on', () => {
  test.each(all)('with %s, which asks the server that it has', async (name, start) => {
    const { space, mac, address } = await newMachine()
    const client = started(start(space))
    const { server } = await client.tells('bound')
    askToRenew(name, client)
    expect(await client.tells('renewed')).toMatchObject({ address, server })
    const renewals = messagesOf(mac).filter(
      one => kindOf(one) === 'request' && one.ciaddr === address,
    )
    expect(new Set(renewals.map(({ to }) => to))).toEqual(new Set([server]))
    const acks = messagesOf(mac).filter(one => kindOf(one) === 'ack' && one.ciaddr === address)
    expect(new Set(acks.map(({ to }) => to))).toEqual(new Set([address]))
    // Whoever has an address all the time has one lease.
    await waitUntil(
      'the API knows of it',
      async () => {
        const leases = await cloud.leases(`network_id=${network_id}`)
        const own = leases.filter(one => one.address === address && one.state === 'bound')
        return own.some(one => Date.parse(one.told_at) > Date.parse(one.started_at))
      },
      20,
    )
  })

  test.each(all)('with %s, which asks all when that one is out of reach', async (name, start) => {
    const { space, mac, address } = await newMachine()
    const client = started(start(space))
    const { server } = await client.tells('bound')
    await space.lose(server ?? '', 'eth0')
    const before = client.reports().length
    askToRenew(name, client)
    // The others make no difference between that and a renewal.
    const event = name === 'dhcpcd' ? 'rebound' : 'renewed'
    expect(await client.tells(event, before)).toMatchObject({ address })
    const rebinds = messagesOf(mac).filter(
      one => kindOf(one) === 'request' && one.ciaddr === address && one.to === '255.255.255.255',
    )
    expect(rebinds.length).toBeGreaterThan(0)
  })
})

describe('a lease ends', () => {
  const releases = {
    dhclient: (space: Space, client: DhcpClient) => releaseDhclient(space, client),
    udhcpc: async (_space: Space, { program }: DhcpClient) => {
      program.child.kill('SIGUSR2')
    },
    dhcpcd: async (_space: Space, { program }: DhcpClient) => {
      program.child.kill('SIGALRM')
    },
  }

  test.each(all)('when %s releases it', async (name, start) => {
    const { space, mac, address } = await newMachine()
    const client = started(start(space))
    await client.tells('bound')
    await releases[name](space, client)
    await waitUntil(
      'a release on the link',
      () => messagesOf(mac).some(one => kindOf(one) === 'release' && one.ciaddr === address),
      20,
    )
    await waitUntil(
      'the API knows of it',
      async () => {
        const leases = await cloud.leases(`network_id=${network_id}`)
        const [last] = leases
          .filter(one => one.address === address)
          .toSorted((a, b) => b.told_at.localeCompare(a.told_at))
        return last?.state === 'released'
      },
      20,
    )
    // It is the machine's own address, which it gets again.
    expect(await started(start(space)).tells('bound')).toMatchObject({ address })
  })

  test('when dhclient finds that another machine has the address', async () => {
    const { space, mac, address } = await newMachine()
    // Its script says so the first time (dhclient-script(8)).
    const script = '[ "$reason" != BOUND ] || exit 1'
    started(startDhclient(space, { script }))
    await waitUntil(
      'a decline on the link',
      () => messagesOf(mac).some(one => kindOf(one) === 'decline'),
      20,
    )
    await waitUntil(
      'the API knows of it',
      async () => {
        const events = await cloud.events('lease.declined')
        return events.some(({ data }) => data.address === address)
      },
      20,
    )
  })

  test('when udhcpc finds that another machine has the address', async () => {
    const { space, mac, address } = await newMachine()
    await lan.machine('squatter', { addresses: [`${address}/24`] })
    started(startUdhcpc(space, { args: ['-a'] }))
    await waitUntil(
      'a decline on the link',
      () => messagesOf(mac).some(one => kindOf(one) === 'decline'),
      20,
    )
  })
})

test('a lease goes on with another server of the network, when its own has died', async () => {
  const { space, mac, address } = await newMachine()
  const client = started(startDhclient(space))
  const { server } = await client.tells('bound')
  const isFirst = server === servers[0]
  const dead = isFirst ? first : second
  await dead.kill()
  const told = await client.tells('renewed', client.reports().length)
  const other = isFirst ? servers[1] : servers[0]
  expect(told).toMatchObject({ address, server: other })
  expect(messagesOf(mac).filter(one => kindOf(one) === 'nak')).toEqual([])
  await dead.start()
})

test('who comes with an address of elsewhere is told to give it up, and gets its own', async () => {
  const { space, mac, address } = await newMachine()
  const client = started(startUdhcpc(space, { args: ['-r', '10.99.9.9'] }))
  expect(await client.tells('bound')).toMatchObject({ address })
  expect(messagesOf(mac).filter(one => kindOf(one) === 'nak')).toEqual([])

  // A client that remembers a lease of another place asks for it at once (RFC 2131 §3.2).
  const elsewhere = await newMachine()
  const remembered = `lease {
  interface "eth0";
  fixed-address 10.99.9.9;
  option subnet-mask 255.255.255.0;
  option dhcp-lease-time 86400;
  option dhcp-server-identifier 10.99.9.1;
  renew never; rebind never; expire never;
}
`
  const returning = started(startDhclient(elsewhere.space, { leases: remembered }))
  expect(await returning.tells('bound')).toMatchObject({ address: elsewhere.address })
  expect(messagesOf(elsewhere.mac).map(kindOf)).toContain('nak')
})
