import { describe, expect, test } from 'vitest'
import type { Capture } from '../helpers/capture.ts'
import type { Cloud } from '../helpers/cloud.ts'
import { startDhclient, startDhcpcd } from '../helpers/dhcp-clients.ts'
import { DhcpProcess } from '../helpers/dhcp-process.ts'
import { envelope, iaNa, iaTa, address as named, rapid } from '../helpers/dhcp6.ts'
import { acquire6, ask6, givenIn, type Packet6 } from '../helpers/exchanges.ts'
import { useField } from '../helpers/field.ts'
import type { Segment } from '../helpers/netlab.ts'
import { PacketClient } from '../helpers/packet-client.ts'
import { waitUntil } from '../helpers/race-load.ts'

let cloud: Cloud
let lan: Segment
let capture: Capture
let network_id: string
let prefixes: string

const holdSeconds = 12
const leaseSeconds = 3600
const macOf = (n: number) => `02:4d:50:00:00:${n.toString(16).padStart(2, '0')}`

useField(async field => {
  cloud = field.cloud
  lan = await field.lab.segment('lan')
  capture = await lan.capture()
  const scope_id = await cloud.scope('six')
  network_id = (await cloud.network({ name: 'six' })).id
  const dns_nameservers = ['fd24::53']
  await cloud.block({ scope_id, cidr: 'fd24::/64', network_id, dns_nameservers })
  prefixes = (await cloud.block({ scope_id, cidr: 'fd25::/48', network_id })).id
  await cloud.option(`networks/${network_id}`, 6, 'domain-search', ['six.example'])
  await cloud.option(`networks/${network_id}`, 6, 'ntp-servers', ['fd24::123', 'ntp.example'])
  await cloud.option(`networks/${network_id}`, 6, 'bootfile-url', 'http://[fd24::9]/boot.efi')
  const served = await lan.machine('served', { addresses: ['fd24::2/64'] })
  await DhcpProcess.start(cloud, {
    networks: [{ id: network_id, interface: 'eth0', namespace: served.name }],
    lease_seconds: leaseSeconds,
    rapid_commit: true,
  })
})

let machines = 0

/** A machine with an interface, which has an address, and prefixes if told so. */
async function newMachine({ delegated = [] as readonly string[] } = {}) {
  machines += 1
  const mac = macOf(machines)
  const address = `fd24::${100 + machines}`
  const nic = await cloud.interface(network_id, { mac_address: mac, addresses: [address] })
  const owner = { block_id: prefixes, owner_type: 'interface', owner_id: nic.id }
  for (const prefix of delegated) await cloud.allocate({ ...owner, address: prefix })
  const space = await lan.machine(`machine${machines}`, { mac })
  return { mac, address, nic, space, client: () => PacketClient.open(space) }
}

const told = { dns: ['fd24::53'], search: ['six.example'], lease_seconds: leaseSeconds }
/** What went over the link to servers. */
const asked = () =>
  capture
    .seen()
    .filter(({ to }) => to.port === 547)
    .map(({ payload }) => envelope(payload).type)

describe('dhclient', () => {
  test('gets an address, confirms it after a restart, and releases it', async () => {
    const { space, address } = await newMachine()
    const client = startDhclient(space, { version: 6 })
    expect(await client.tells('bound')).toMatchObject({ ...told, address })
    expect(await space.addresses('eth0')).toEqual([`${address}/128`])
    await client.program.stop('SIGKILL')

    const before = asked().length
    const again = startDhclient(space, { version: 6, leases: client.remembered() })
    expect(await again.tells('bound')).toMatchObject({ address })
    expect(asked().slice(before)).toContain('confirm')
    await again.program.stop('SIGTERM')
  })

  test('gets a delegated prefix', async () => {
    const { space } = await newMachine({ delegated: ['fd25:0:0:100::/56'] })
    const client = startDhclient(space, { version: 6, args: ['-P'] })
    expect(await client.tells('bound')).toMatchObject({
      address: null,
      delegated: 'fd25:0:0:100::/56',
    })
    await client.program.stop('SIGTERM')
    const leases = await seenLeases(({ address }) => address === 'fd25:0:0:100::/56')
    expect(leases[0]?.state).toBe('bound')
  })

  test('gets an address and two prefixes at once', async () => {
    const delegated = ['fd25:0:0:200::/56', 'fd25:0:0:300::/60']
    const { space, address } = await newMachine({ delegated })
    const client = startDhclient(space, { version: 6, args: ['-N', '-P', '-P'] })
    await waitUntil(
      'all of it',
      () => {
        const reports = client.reports().filter(({ event }) => event === 'bound')
        const got = reports.flatMap(one => [one.address, one.delegated]).filter(Boolean)
        return [address, ...delegated].every(one => got.includes(one))
      },
      30,
    )
  })
})

describe('dhcpcd', () => {
  const config = (...more: string[]) => ['duid ll', ...more, 'interface eth0', 'ia_na 1']

  test('gets an address', async () => {
    const { space, address } = await newMachine()
    const client = startDhcpcd(space, { version: 6, config: config() })
    expect(await client.tells('bound')).toMatchObject({ ...told, address })
    await client.program.stop('SIGALRM')
    const leases = await seenLeases(one => one.address === address && one.state === 'released')
    expect(leases).toHaveLength(1)
  })

  test('gets a delegated prefix', async () => {
    const { space, address } = await newMachine({ delegated: ['fd25:0:0:400::/56'] })
    const client = startDhcpcd(space, { version: 6, config: [...config(), 'ia_pd 2 -'] })
    expect(await client.tells('bound')).toMatchObject({ address, delegated: 'fd25:0:0:400::/56' })
  })

  test('does with two messages', async () => {
    const { space, address } = await newMachine()
    const before = asked().length
    const client = startDhcpcd(space, { version: 6, config: config('option dhcp6_rapid_commit') })
    expect(await client.tells('bound')).toMatchObject({ address })
    expect(asked().slice(before)).not.toContain('request')
  })
})

type Lease = Awaited<ReturnType<Cloud['leases']>>[number]

/** Leases that fit, as soon as there are any. */
async function seenLeases(fits: (lease: Lease) => boolean): Promise<Lease[]> {
  let found: Lease[] = []
  await waitUntil(
    'a lease',
    async () => {
      found = (await cloud.leases(`network_id=${network_id}`)).filter(fits)
      return found.length > 0
    },
    20,
  )
  return found
}

test('both renew, and no longer than what they have lasts', async () => {
  // Holds end soon, and so does what is told of them: T1 is after half of that.
  const clients = await Promise.all(
    ([startDhclient, startDhcpcd] as const).map(async start => {
      machines += 1
      const name = `held${machines}`
      const mac = macOf(machines)
      const nic = await cloud.interface(network_id, { mac_address: mac })
      const owner = { owner_type: 'interface', owner_id: nic.id, families: [6] }
      await cloud.allocate({ network_id, ...owner, lifetime_seconds: holdSeconds })
      const space = await lan.machine(name, { mac })
      const config = start === startDhcpcd ? ['duid ll', 'interface eth0', 'ia_na 1'] : []
      return start(space, { version: 6, config })
    }),
  )
  for (const client of clients) {
    const bound = await client.tells('bound')
    expect(bound.lease_seconds).toBeLessThanOrEqual(holdSeconds)
    const renewed = await client.tells('renewed')
    expect(renewed.address).toBe(bound.address)
    expect(renewed.lease_seconds).toBeLessThan(bound.lease_seconds ?? 0)
  }
})

describe('what no client of these does', () => {
  const iaOf = (address: string) => iaNa(1, [named(address)])
  const statusOf = ({ text }: Packet6) =>
    [...text.matchAll(/status=(\d+)/g)].map(([, code]) => code)

  test('INFORMATION-REQUEST: options alone', async () => {
    const { client, mac } = await newMachine()
    const ask = { mac, wants: [23, 24, 56, 59], options: [] }
    const reply = await ask6(await client(), 'inform', ask)
    expect(givenIn(reply)).toEqual([])
    expect(reply.text).toContain('23=fd240000000000000000000000000053')
    expect(reply.text).toContain(`59=${Buffer.from('http://[fd24::9]/boot.efi').toString('hex')}`)
    // Each server is an option of its own (RFC 5908 §4).
    expect(reply.text).toContain('56=00010010fd240000000000000000000000000123')
    expect(reply.text).toContain('56=0003000d036e7470076578616d706c6500')
  })

  test('SOLICIT with rapid commit', async () => {
    const { client, mac, address } = await newMachine()
    const reply = await ask6(await client(), 'solicit', { mac, options: [rapid, iaNa(1, [])] })
    expect(reply.type).toBe('reply')
    expect(reply.text).toContain('rapid')
    expect(givenIn(reply)).toEqual([address])
  })

  test('CONFIRM: whether addresses are of the link', async () => {
    const { client, mac, address } = await newMachine()
    const own = await client()
    const yes = await ask6(own, 'confirm', { mac, options: [iaOf(address)] })
    expect(statusOf(yes)).toEqual(['0'])
    const no = await ask6(own, 'confirm', { mac, options: [iaOf('fd99::1')] })
    expect(statusOf(no)).toEqual(['4'])
  })

  test('REBIND: its own goes on, what is not its own ends', async () => {
    const { client, mac, address } = await newMachine()
    const own = await client()
    const options = [iaNa(1, [named(address), named('fd24::dead')])]
    const reply = await ask6(own, 'rebind', { mac, options })
    expect(givenIn(reply)).toEqual([address])
    expect(reply.text).toContain('fd24::dead=0-0')
  })

  test('temporary addresses are refused', async () => {
    const { client, mac } = await newMachine()
    const reply = await ask6(await client(), 'solicit', { mac, options: [iaTa(3), iaNa(1, [])] })
    expect(reply.text).toMatch(/ta\(3 +status=2\)/)
  })

  test('DECLINE: the address is told to nobody, and an event says so', async () => {
    const { client, mac, address } = await newMachine()
    const own = await client()
    const reply = await acquire6(own, { mac })
    expect(givenIn(reply)).toEqual([address])
    const options = [reply.server, iaOf(address)]
    expect(statusOf(await ask6(own, 'decline', { mac, options }))).toContain('0')
    await waitUntil(
      'the API knows of it',
      async () => {
        const events = await cloud.events('lease.declined')
        return events.some(({ data }) => data.address === address)
      },
      20,
    )
    expect(givenIn(await ask6(own, 'solicit', { mac }))).toEqual([])
  })
})
