import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { ServedHost } from '../../src/dhcp/served.ts'
import type { Change, Driver } from '../../src/discovery/driver.ts'
import { createControl } from '../../src/discovery/kea/control.ts'
import { createKea } from '../../src/discovery/kea/kea.ts'
import { releaseDhclient, startDhclient, startUdhcpc } from '../helpers/dhcp-clients.ts'
import { contextOf } from '../helpers/dhcp-context.ts'
import { option4, readPacket } from '../helpers/dhcp4-packets.ts'
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
import {
  acquire4,
  acquire6,
  ask4,
  ask6,
  givenIn,
  hexOfText,
  kindOf,
  tell4,
} from '../helpers/exchanges.ts'
import { type KeaDatabases, startKeaDatabases } from '../helpers/kea-database.ts'
import { blockId, hostOf, macOf, networkOf, subnetOf } from '../helpers/kea-world.ts'
import { type Lab, openLab, type Segment, type Space } from '../helpers/netlab.ts'
import { PacketClient } from '../helpers/packet-client.ts'
import { waitUntil } from '../helpers/race-load.ts'

// What is particular to the driver `kea`; what all drivers do is in contract.ts.

let lab: Lab
let databases: KeaDatabases
let lan: Segment
let served: Space
let client: PacketClient
const drivers: Driver[] = []
const folders: string[] = []

beforeAll(async () => {
  databases = await startKeaDatabases()
  lab = openLab()
  lan = await lab.segment('lan')
  served = await lan.machine('served', { addresses: ['10.40.0.2/24', 'fd40::2/64'] })
  client = await PacketClient.open(await lan.machine('client'))
})
afterEach(async () => {
  for (const driver of drivers.splice(0)) await driver.stop()
  expect(await keasIn(served)).toEqual([])
})
afterAll(async () => {
  await databases?.stop()
  await lab?.close()
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

/** The pids of Keas in a namespace. */
async function keasIn(space: Space): Promise<number[]> {
  const pids = (await space.run('ip', 'netns', 'pids', space.name)).split('\n').filter(Boolean)
  return pids.map(Number).filter(pid => commandOf(pid).includes('kea-dhcp'))
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}

const lanSubnets = [subnetOf(1, '10.40.0.0/24'), subnetOf(2, 'fd40::/64')]

type World = {
  readonly networks?: Parameters<typeof contextOf>[0]['networks']
  readonly kea?: object
  readonly config?: object
  readonly pools?: NonNullable<Parameters<typeof contextOf>[1]>['pools']
  readonly folder?: string
}

/** A driver for a network on the segment, unless told otherwise. */
async function prepare({ networks, kea, config, pools, folder }: World = {}) {
  const known = networks ?? [
    { network: networkOf(1, lanSubnets), hosts: [hostOf(1, [[1, '10.40.0.11']])] },
  ]
  const database_url = await databases.create()
  const settings = {
    networks: known.map(({ network: { id } }) => ({
      id,
      interface: 'eth0',
      namespace: served.name,
    })),
    kea: { run: true, database_url, ...kea },
    ...config,
  }
  const made = contextOf({ config: settings, networks: known }, pools ? { pools } : {})
  folders.push(made.context.folder)
  const context = folder === undefined ? made.context : { ...made.context, folder }
  const driver = createKea(context)
  drivers.push(driver)
  const network_id = known[0]?.network.id ?? ''
  const put = async (...hosts: readonly ServedHost[]) => {
    for (const host of hosts) made.served.get(network_id)?.hosts.set(host.id, host)
    await driver.apply(hosts.map((host): Change => ({ type: 'host', network_id, host })))
  }
  const remove = async (host: ServedHost) => {
    made.served.get(network_id)?.hosts.delete(host.id)
    await driver.apply([{ type: 'host_gone', network_id, host_id: host.id }])
  }
  return { ...made, context, driver, network_id, put, remove, database_url }
}

async function start(world: World = {}) {
  const prepared = await prepare(world)
  await prepared.driver.start()
  return prepared
}

const newsOf = (leases: { news: readonly { address: string; state: string }[] }, address: string) =>
  leases.news.filter(one => one.address === address).map(({ state }) => state)

test('a host that goes loses its lease, and another gets its address at once', async () => {
  const { put, remove, leases } = await start()
  const machine = await lan.machine('moving', { mac: macOf(1) })
  const dhclient = startDhclient(machine)
  expect(await dhclient.tells('bound')).toMatchObject({ address: '10.40.0.11' })
  await waitUntil('it is reported', () => newsOf(leases, '10.40.0.11').includes('bound'), 10)

  await remove(hostOf(1, []))
  const request = { mac: macOf(1), address: '10.40.0.11' }
  expect(kindOf(await ask4(client, 'request', request))).toBe('nak')
  await put(hostOf(2, [[1, '10.40.0.11']]))
  expect(await acquire4(client, { mac: macOf(2) })).toMatchObject({ yiaddr: '10.40.0.11' })
  // What Melange ends is nothing that the machine has done.
  const isNext = ({ mac_address }: { mac_address: string | null }) => mac_address === macOf(2)
  await waitUntil('it is reported', () => leases.news.some(isNext), 10)
  expect(new Set(newsOf(leases, '10.40.0.11'))).toEqual(new Set(['bound']))
})

test('what machines release and decline is reported, and withheld as long as the API says', async () => {
  const { put, leases } = await start()
  const machine = await lan.machine('leaving', { mac: macOf(1) })
  const dhclient = startDhclient(machine)
  await dhclient.tells('bound')
  await releaseDhclient(machine, dhclient)
  await waitUntil('it is reported', () => newsOf(leases, '10.40.0.11').includes('released'), 10)

  const { server } = await acquire4(client, { mac: macOf(1) })
  tell4(client, 'decline', { mac: macOf(1), address: '10.40.0.11', server })
  await waitUntil('it is reported', () => newsOf(leases, '10.40.0.11').includes('declined'), 10)
  expect(leases.news.at(-1)).toMatchObject({ mac_address: macOf(1), state: 'declined' })
  const withheld_until = new Date(Date.now() + 2000).toISOString()
  await put(hostOf(1, [[1, { address: '10.40.0.11', withheld_until }]]))
  const answered = await acquire4(client, { mac: macOf(1) })
  expect(answered.yiaddr).toBe('10.40.0.11')
  expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(withheld_until))
})

test('a lease lasts as long as is set on the host, and no longer than a hold', async () => {
  const own = { block_id: blockId(1), options: [{ code: 51, value: 300 }] }
  const { put } = await start()
  const expires_at = new Date(Date.now() + 100_000).toISOString()
  await put(
    hostOf(3, [[1, '10.40.0.13']], { options: [own] }),
    hostOf(4, [[1, { address: '10.40.0.14', expires_at }]]),
  )
  const secondsOf = async (n: number) =>
    Number.parseInt((await acquire4(client, { mac: macOf(n) })).options.get(51) ?? '', 16)
  expect(await secondsOf(1)).toBe(3600)
  expect(await secondsOf(3)).toBe(300)
  expect(await secondsOf(4)).toBe(64)
})

test('a machine boots what its architecture says, and others the usual', async () => {
  const options = [
    { code: 66, value: 'tftp.example' },
    { code: 67, value: 'usual.img' },
  ]
  const boot_files = [
    { architectures: [7, 9], server: '10.40.0.9', file: "efi'.img" },
    { architectures: [0], server: null, file: 'bios.img' },
  ]
  const subnet = subnetOf(1, '10.40.0.0/24', { options, boot_files })
  const hosts = [hostOf(1, [[1, '10.40.0.11']], { host_name: 'boots' })]
  await start({ networks: [{ network: networkOf(1, [subnet]), hosts }] })
  const bootOf = async (architecture: string | null) => {
    const said = architecture === null ? {} : { options: { 93: architecture } }
    const { options, siaddr } = await acquire4(client, {
      mac: macOf(1),
      wants: [12, 66, 67],
      ...said,
    })
    expect(options.get(12)).toBe(hexOfText('boots'))
    const text = (code: number) => Buffer.from(options.get(code) ?? '', 'hex').toString()
    return { siaddr, server: text(66), file: text(67) }
  }
  const efi = { siaddr: '10.40.0.9', server: '10.40.0.9', file: "efi'.img" }
  expect(await bootOf('0007')).toEqual(efi)
  expect(await bootOf('00060009')).toEqual(efi)
  const named = { siaddr: '0.0.0.0', server: 'tftp.example' }
  expect(await bootOf('0000')).toEqual({ ...named, file: 'bios.img' })
  expect(await bootOf('000b')).toEqual({ ...named, file: 'usual.img' })
  expect(await bootOf(null)).toEqual({ ...named, file: 'usual.img' })
})

test('relays say by address and circuit which network is meant', async () => {
  const listening = '10.41.0.2'
  const network = (n: number) =>
    networkOf(n, [subnetOf(n, `10.4${n}.0.0/24`), subnetOf(n + 10, `fd4${n}::/64`)])
  const networks = [5, 6].map(n => ({
    network: network(n),
    hosts: [
      hostOf(1, [
        [n, `10.4${n}.0.11`],
        [n + 10, `fd4${n}::11`],
      ]),
    ],
  }))
  await served.ip('addr', 'add', `${listening}/24`, 'dev', 'eth0')
  const machine = await lan.machine('relay', { addresses: ['10.41.0.7/24', 'fd40::7/64'] })
  const relay = await PacketClient.open(machine, { places: ['4:67', '6:547'] })
  const at = (n: number) => networks[n]?.network.id
  const config = {
    networks: [
      {
        id: at(0),
        relays: [
          { address: '10.41.0.7', circuit_id: 'five' },
          { address: 'fd49::1', circuit_id: 'five' },
        ],
      },
      {
        id: at(1),
        relays: [
          { address: '10.41.0.7', circuit_id: '0x00060006' },
          { address: 'fd49::1', circuit_id: '0x00060006' },
        ],
      },
    ],
    relay_listen: [
      { address: listening, namespace: served.name },
      { address: 'fd40::2', namespace: served.name },
    ],
  }
  const rapid_commit = true
  const { leases } = await start({ networks, config: { ...config, rapid_commit } })
  const via = async (giaddr: string, circuit: string) => {
    const information = option4(82, option4(1, circuit)).slice(4)
    const ask = { mac: macOf(1), giaddr, options: { 82: information } }
    const way = { place: '4:67', to: { address: listening } }
    return (await acquire4(relay, ask, way)).yiaddr
  }
  expect(await via('10.41.0.7', hexOfText('five'))).toBe('10.45.0.11')
  expect(await via('10.41.0.7', '00060006')).toBe('10.46.0.11')

  const via6 = async (circuit: string) => {
    const names = [clientId(duidLL(macOf(1).replaceAll(':', ''))), wants(23), iaNa(1, [])]
    const request = plain('solicit', '000e0000', ...names)
    const near = ['fd49::1', 'fe80::1'] as const
    const inner = relayed('forward', 0, near, option(18, circuit), holding(request))
    const outer = relayed('forward', 1, ['::', 'fd40::8'], holding(inner))
    const from = relay.received.length
    const way = { place: '6:547', to: { address: 'fd40::2' } }
    relay.send(packet(outer), way)
    const isAnswer = ({ place }: { place: string }) => place === '6:547'
    const [, , reply] = show((await relay.receives('a reply', isAnswer, from)).bytes)
    return reply
  }
  expect(await via6(hexOfText('five'))).toContain('fd45::11')
  expect(await via6('00060006')).toContain('fd46::11')

  await waitUntil('all are reported', () => leases.news.length >= 4, 10)
  const found = leases.news.map(({ address, relay }) => ({ address, relay }))
  expect(found.toSorted((a, b) => (a.address < b.address ? -1 : 1))).toEqual([
    {
      address: '10.45.0.11',
      relay: { address: '10.41.0.7', circuit_id: hexOfText('five'), remote_id: null },
    },
    {
      address: '10.46.0.11',
      relay: { address: '10.41.0.7', circuit_id: '00060006', remote_id: null },
    },
    {
      address: 'fd45::11',
      relay: { address: 'fd49::1', circuit_id: hexOfText('five'), remote_id: null },
    },
    {
      address: 'fd46::11',
      relay: { address: 'fd49::1', circuit_id: '00060006', remote_id: null },
    },
  ])
})

test('two networks of the same CIDR are served in namespaces of their own, and refused in one', async () => {
  const other = await lab.segment('other')
  const beside = await other.machine('beside', { addresses: ['10.40.0.2/24'] })
  const stranger = await PacketClient.open(await other.machine('stranger'))
  const networks = [1, 2].map(n => ({
    network: networkOf(n, [subnetOf(n, '10.40.0.0/24')]),
    hosts: [hostOf(1, [[n, `10.40.0.2${n}`]])],
  }))
  const [first, second] = networks.map(({ network: { id } }) => id)
  const config = {
    networks: [
      { id: first, interface: 'eth0', namespace: served.name },
      { id: second, interface: 'eth0', namespace: beside.name },
    ],
  }
  await start({ networks, config })
  expect((await acquire4(client, { mac: macOf(1) })).yiaddr).toBe('10.40.0.21')
  expect((await acquire4(stranger, { mac: macOf(1) })).yiaddr).toBe('10.40.0.22')
  await expect(start({ networks })).rejects.toThrow(
    `networks: ${first} and ${second} both have 10.40.0.0/24, which one Kea serves once`,
  )
})

test('a Kea that dies is started again, and one that was left behind is replaced', async () => {
  const { driver, context, database_url } = await start()
  const [before] = await keasIn(served)
  process.kill(Number(before), 'SIGKILL')
  await waitUntil('it is a problem', () => driver.problems().length > 0, 10)
  expect(driver.problems()[0]).toMatch(/^kea-dhcp[46] in \S+ has ended: SIGKILL$/)
  await waitUntil('all is well', () => driver.problems().length === 0, 20)
  expect(await acquire4(client, { mac: macOf(1) })).toMatchObject({ yiaddr: '10.40.0.11' })

  // What a process leaves behind that is killed.
  const { folder } = context
  await driver.stop()
  const files = join(folder, `dhcp4-${served.name}`)
  const left = served.start(...keaCommand(files))
  const control = createControl(join(files, 'control.sock'))
  await waitUntil('it runs', () => isUp(control), 20)
  await start({ folder, kea: { run: true, database_url } })
  expect(left.isRunning).toBe(false)
  expect(await acquire4(client, { mac: macOf(1) })).toMatchObject({ yiaddr: '10.40.0.11' })
  expect(await keasIn(served)).toHaveLength(2)
})

test('what happened to leases while nobody followed is reported and put right', async () => {
  const first = await start()
  await acquire4(client, { mac: macOf(1) })
  await waitUntil('it is reported', () => first.leases.news.length > 0, 10)
  await first.driver.stop()
  drivers.length = 0
  const { folder } = first.context
  const path = join(folder, `dhcp4-${served.name}`, 'leases.csv')
  const [line = ''] = readFileSync(path, 'utf8').trim().split('\n').slice(-1)
  const seconds = Math.floor(Date.now() / 1000)
  const later = line
    .split(',')
    .with(4, String(seconds + 3600))
    .join(',')
  const stray = later.replace('10.40.0.11', '10.40.0.99')
  writeFileSync(path, `${readFileSync(path, 'utf8')}${later}\n${stray}\n`)

  const { leases } = await start({ folder, kea: { run: true, database_url: first.database_url } })
  await waitUntil('it is reported', () => leases.news.length > 0, 10)
  expect(leases.news.map(({ address, ends_at }) => ({ address, ends_at }))).toEqual([
    { address: '10.40.0.11', ends_at: (seconds + 3600) * 1000 },
  ])
  const isEnded = (address: string) => () =>
    readFileSync(path, 'utf8')
      .split('\n')
      .some(one => one.startsWith(`${address},`) && one.split(',')[3] === '0')
  await waitUntil('the other has ended', isEnded('10.40.0.99'), 10)

  // A host that has gone meanwhile.
  for (const one of drivers.splice(0)) await one.stop()
  const networks = [{ network: networkOf(1, lanSubnets), hosts: [] }]
  await start({ folder, networks, kea: { run: true, database_url: first.database_url } })
  await waitUntil('it has ended', isEnded('10.40.0.11'), 10)
})

test('a machine that calls itself by another name gets what it had', async () => {
  const client_id = '01aabb'
  const host = hostOf(
    1,
    [
      [1, '10.40.0.11'],
      [2, 'fd40::11'],
    ],
    { client_id },
  )
  await start({ networks: [{ network: networkOf(1, lanSubnets), hosts: [host] }] })
  expect((await acquire4(client, { mac: macOf(1) })).yiaddr).toBe('10.40.0.11')
  expect((await acquire4(client, { mac: macOf(50), client_id })).yiaddr).toBe('10.40.0.11')

  const machine = await PacketClient.open(await lan.machine('renamed', { mac: macOf(1) }))
  const bare = macOf(1).replaceAll(':', '')
  for (const duid of [`00030001${bare}`, `000100010000000a${bare}`]) {
    await waitUntil(
      'it gets its address',
      async () => givenIn(await ask6(machine, 'solicit', { duid })).includes('fd40::11'),
      20,
    )
    expect(givenIn(await acquire6(machine, { duid }))).toEqual(['fd40::11'])
  }
})

test('changes wait for the database, and come when it is there again', async () => {
  const { driver, put } = await start()
  await acquire4(client, { mac: macOf(1) })
  await databases.server.kill9()
  const from = client.received.length
  const done = put(hostOf(2, [[1, '10.40.0.12']]))
  const ask = () => tell4(client, 'request', { mac: macOf(1), address: '10.40.0.11' })
  ask()
  await waitUntil(
    'it is a problem',
    () => driver.problems().some(one => one.startsWith('kea: ')),
    20,
  )
  ask()
  await databases.server.start()
  await done
  expect(driver.problems()).toEqual([])
  // Who is known and cannot be looked up is not refused.
  const heard = client.received.slice(from).map(({ bytes }) => kindOf(readPacket(bytes)))
  expect(heard).not.toContain('nak')
  expect(await acquire4(client, { mac: macOf(2) })).toMatchObject({ yiaddr: '10.40.0.12' })
})

test('hosts of others stay in the database, and rows that are right are left alone', async () => {
  const { database_url, put } = await prepare()
  const { folder } = mkdtempFor()
  const rows = async () =>
    psql(database_url, 'select host_id, user_context from hosts order by host_id')
  await psql(
    database_url,
    `insert into hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address)
     values ('\\x020000000001', 0, 77, 3232235777)`,
  )
  expect(put).toBeTypeOf('function')
  const first = await start({ folder, kea: { run: true, database_url } })
  const before = await rows()
  expect(before).toHaveLength(2)
  await first.driver.stop()
  drivers.pop()
  const second = await start({ folder, kea: { run: true, database_url } })
  expect(await rows()).toEqual(before)
  await second.remove(hostOf(1, []))
  expect(await rows()).toEqual(before.slice(0, 1))
})

test('what is set wrong is said in one line', async () => {
  const said = async (kea: object, config: object = {}) => {
    const { driver } = await prepare({ kea, config })
    drivers.pop()
    return driver.start().then(
      () => 'it started',
      (error: Error) => `${error.name}: ${error.message}`,
    )
  }
  const isEmpty = true
  expect(await said({ database_url: undefined })).toMatch(/^DiscoveryError: kea.database_url or /)
  expect(await said({ database_url: await databases.create({ isEmpty }) })).toBe(
    "DiscoveryError: kea.database_url: Kea's tables are not there: kea-admin db-init pgsql makes them",
  )
  const other = await databases.create()
  await psql(other, "update schema_version set version = '12'")
  expect(await said({ database_url: other })).toMatch(/are of version 12.0, and 13.0 \(Kea 2.2\)/)
  expect(await said({ database_url: 'postgres://x@127.0.0.1:1/kea' })).toMatch(
    /^DiscoveryError: kea.database_url: .*ECONNREFUSED/,
  )
  expect(await said({ run: false, dhcp4_socket: '/nowhere/kea.sock' })).toMatch(
    /^DiscoveryError: kea: control socket of Kea: connect ENOENT \/nowhere/,
  )
  expect(await said({ hooks_folder: '/nowhere' })).toMatch(/there is no libdhcp_lease_cmds.so in/)
  expect(await said({ programs_folder: '/nowhere' })).toMatch(/\/nowhere\/kea-dhcp4/)
  const id = networkOf(1, []).id
  const networks = [{ id, interface: 'eth9', namespace: served.name }]
  expect(await said({}, { networks })).toMatch(/there is no interface eth9 in/)
})

test('a Kea that others run keeps what is theirs, and is told again when it has forgotten', async () => {
  const folder = mkdtempFor().folder
  const theirs = {
    'interfaces-config': { interfaces: ['eth0'] },
    'control-socket': { 'socket-type': 'unix', 'socket-name': join(folder, 'kea.sock') },
    // Each second the file is begun anew.
    'lease-database': { type: 'memfile', name: join(folder, 'leases.csv'), 'lfc-interval': 1 },
    'hooks-libraries': [{ library: hook() }],
    'client-classes': [{ name: 'theirs', test: "option[60].hex == 'x'" }],
    subnet4: [{ id: 7, subnet: '192.168.7.0/24', pools: [{ pool: '192.168.7.10-192.168.7.20' }] }],
    loggers: [{ name: 'kea-dhcp4', severity: 'WARN', output_options: [{ output: 'stdout' }] }],
  }
  writeFileSync(join(folder, 'kea.json'), JSON.stringify({ Dhcp4: theirs }))
  const run = () => served.start(...keaCommand(folder))
  const control = createControl(join(folder, 'kea.sock'))
  const subnets = async () => {
    const found = (await control.command('config-get'))?.Dhcp4 as Record<
      string,
      { subnet: string }[]
    >
    return found.subnet4?.map(({ subnet }) => subnet)
  }
  let kea = run()
  await waitUntil('it runs', () => isUp(control), 20)
  const kea4 = { run: false, dhcp4_socket: join(folder, 'kea.sock'), failures_folder: folder }
  const unknown_clients = { project_id: 'red', lease_seconds: 600, purpose: null }
  const network = networkOf(1, [subnetOf(1, '10.40.0.0/24', { unknown_clients })])
  const hosts = [hostOf(1, [[1, '10.40.0.11']])]
  const pools = { [`${network.id} 4`]: { block_id: blockId(1), first: '10.40.0.200' } }
  const networks = [{ network, hosts }]
  const { driver, leases } = await start({ kea: kea4, networks, pools })
  expect(await subnets()).toEqual(['192.168.7.0/24', '10.40.0.0/24'])
  const machine = await lan.machine('fed', { mac: macOf(1) })
  expect(await startUdhcpc(machine).tells('bound')).toMatchObject({ address: '10.40.0.11' })
  await waitUntil('it is reported', () => leases.news.length > 0, 10)
  expect(await acquire4(client, { mac: macOf(99) })).toMatchObject({ yiaddr: '10.40.0.200' })

  await waitUntil('the file is another', () => existsSync(join(folder, 'leases.csv.2')), 20)
  const before = leases.news.length
  await acquire4(client, { mac: macOf(1) })
  await waitUntil('it is reported', () => leases.news.length > before, 10)

  await kea.stop()
  kea = run()
  await waitUntil(
    'it is told again',
    async () => (await subnets().catch(() => []))?.length === 2,
    30,
  )
  expect(await acquire4(client, { mac: macOf(1) })).toMatchObject({ yiaddr: '10.40.0.11' })
  await driver.stop()
  drivers.length = 0
  expect(await subnets()).toEqual(['192.168.7.0/24'])
  expect(kea.isRunning).toBe(true)
  await kea.stop()
})

const keaCommand = (folder: string) => [
  ...['env', `KEA_PIDFILE_DIR=${folder}`, `KEA_LOCKFILE_DIR=${folder}`],
  ...['kea-dhcp4', '-c', join(folder, 'kea.json')],
]

const isUp = (control: ReturnType<typeof createControl>) =>
  control.command('status-get').then(Boolean, () => false)

const mkdtempFor = () => ({ folder: mkdtempSync(join(lab.folder, 'kea-')) })

function hook(): string {
  const folders = ['x86_64', 'aarch64'].map(name => `/usr/lib/${name}-linux-gnu/kea/hooks`)
  const found = folders.map(one => join(one, 'libdhcp_lease_cmds.so')).find(one => existsSync(one))
  return found ?? 'it is not installed'
}

async function psql(url: string, text: string): Promise<string[]> {
  const out = await served.run('psql', '-qAt', '-d', url, '-c', text)
  return out.trim().split('\n')
}
