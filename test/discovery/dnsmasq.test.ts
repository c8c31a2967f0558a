import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import {
  DnsmasqLab,
  DnsmasqWorld,
  type End,
  macOf,
  newHost,
  newNetwork,
  newSubnet,
  type Running,
  until,
} from '../helpers/dnsmasq-lab.ts'

// A real dnsmasq, and real clients in namespaces: it needs root and `npm run setup:debian -- dhcp`.

let lab: DnsmasqLab
let client: End
let near: End
let udhcpcScript: string
let dhclientScript: string
let folders = 0
let world: DnsmasqWorld | null = null

const subnet4 = newSubnet(1, '10.77.0.0/24', {
  gateway_ip: '10.77.0.254',
  options: [
    { code: 1, value: '255.255.255.0' },
    { code: 3, value: ['10.77.0.254'] },
    { code: 6, value: ['10.77.0.53', '10.77.0.54'] },
    { code: 15, value: 'example.com' },
    { code: 17, value: 'a, "b" \\c #d tag:x' },
    { code: 26, value: 1400 },
    { code: 42, value: ['10.77.0.123'] },
    { code: 119, value: ['one.example.com', 'two.example.com'] },
    {
      code: 121,
      value: [
        { destination: '0.0.0.0/0', gateway: '10.77.0.254' },
        { destination: '192.0.2.0/24', gateway: '10.77.0.7' },
      ],
    },
  ],
})
const subnet6 = newSubnet(2, 'fd77::/64', {
  options: [
    { code: 23, value: ['fd77::53'] },
    { code: 24, value: ['example.com'] },
  ],
})
const network = newNetwork(1, [subnet4, subnet6])

const host = (number: number, more: Parameters<typeof newHost>[2] = {}) =>
  newHost(
    number,
    [
      [subnet4, `10.77.0.${number}`],
      [subnet6, `fd77::${number}`],
    ],
    more,
  )

beforeAll(() => {
  lab = new DnsmasqLab()
  near = { space: lab.space('server'), device: 'vs0' }
  client = { space: lab.space('client'), device: 'vc0', mac: macOf(10) }
  lab.join({ ...near, addresses: ['10.77.0.1/24', 'fd77::1/64'] }, client)
  udhcpcScript = lab.script(
    'udhcpc',
    `echo "event=$1"; env | grep -E '^[a-z_0-9]+='
    case $1 in
    bound | renew) ip addr replace "$ip/$mask" dev "$interface" ;;
    deconfig) ip link set "$interface" up; ip -4 addr flush dev "$interface" ;;
    esac
    echo "end of $1"`,
  )
  dhclientScript = lab.script(
    'dhclient',
    `echo "event=$reason"; env | grep -E '^(new|old)_'
    echo "end of $reason"`,
  )
})
afterAll(() => lab.close())
afterEach(async () => {
  await world?.driver.stop()
  world = null
})

/** A driver that serves a network, and some hosts. */
async function serve(
  numbers: readonly number[],
  settings: object = {},
  of = network,
  folder = newFolder(),
) {
  const at = { id: network.id, interface: near.device, namespace: near.space }
  const made = new DnsmasqWorld({ networks: [at], ...settings }, folder)
  world = made
  made.take({ type: 'network', network: of })
  for (const number of numbers) {
    made.take({ type: 'host', network_id: network.id, host: host(number) })
  }
  await made.driver.start()
  return made
}

function newFolder(): string {
  folders += 1
  const folder = join(lab.folder, `state-${folders}`)
  mkdirSync(folder)
  return folder
}

/** The folder of the one dnsmasq of a driver. */
const unitOf = (folder: string) => join(folder, String(readdirSync(folder)[0]))

const pidIn = (folder: string) => Number(readFileSync(join(unitOf(folder), 'pid'), 'utf8'))

const put = (made: DnsmasqWorld, ...hosts: ReturnType<typeof host>[]) =>
  made.apply(...hosts.map(one => ({ type: 'host' as const, network_id: network.id, host: one })))

const remove = (made: DnsmasqWorld, ...numbers: number[]) =>
  made.apply(
    ...numbers.map(number => ({
      type: 'host_gone' as const,
      network_id: network.id,
      host_id: host(number).id,
    })),
  )

const wanted = [
  'search',
  'staticroutes',
  'ntpsrv',
  'mtu',
  'hostname',
  'rootpath',
  'bootfile',
  'tftp',
]

function startUdhcpc(number: number, ...args: string[]): Running {
  lab.setMac(client, macOf(number))
  const asked = wanted.flatMap(name => ['-O', name])
  const times = ['-t', '4', '-T', '1', '-A', '1']
  const flags = ['-i', client.device, '-f', ...times, '-s', udhcpcScript, ...asked, ...args]
  return lab.start(client.space, 'udhcpc', ...flags)
}

/** What a program has said at the last of such events. */
function saidAt(event: string, { output }: Running): Record<string, string> {
  const start = output.lastIndexOf(`event=${event}\n`)
  const lines = output.slice(start, output.indexOf(`end of ${event}`, start)).split('\n')
  return Object.fromEntries(
    lines.map(line => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
}

/** What udhcpc is told, or null if it gets nothing. */
async function askV4(number: number, ...args: string[]) {
  const udhcpc = startUdhcpc(number, '-q', '-n', ...args)
  await udhcpc.ended
  return udhcpc.output.includes('end of bound') ? saidAt('bound', udhcpc) : null
}

async function startDhclient6(number: number, ...args: string[]): Promise<Running> {
  lab.setMac(client, macOf(number))
  await lab.hasLinkLocal(client)
  const file = join(lab.folder, `dhclient-${number}-${Math.random()}`)
  const files = ['-cf', '/dev/null', '-lf', file, '-pf', `${file}.pid`, '-sf', dhclientScript]
  return lab.start(client.space, 'dhclient', '-6', '-d', ...files, ...args, client.device)
}

async function askV6(number: number, ...args: string[]) {
  const dhclient = await startDhclient6(number, '-1', ...args)
  await dhclient.wrote(/end of BOUND6/)
  dhclient.child.kill()
  await dhclient.ended
  return saidAt('BOUND6', dhclient)
}

test('a known host is told its address and all options, as they are', async () => {
  const made = await serve([10, 11])
  const told = await askV4(10)
  expect(told).toMatchObject({
    ip: '10.77.0.10',
    subnet: '255.255.255.0',
    router: '10.77.0.254',
    dns: '10.77.0.53 10.77.0.54',
    domain: 'example.com',
    hostname: 'host10',
    rootpath: 'a, "b" \\c #d tag:x',
    mtu: '1400',
    ntpsrv: '10.77.0.123',
    search: 'one.example.com two.example.com',
    staticroutes: '0.0.0.0/0 10.77.0.254 192.0.2.0/24 10.77.0.7',
    lease: '3600',
    serverid: '10.77.0.1',
  })
  expect(told).not.toHaveProperty('siaddr')
  expect(told).not.toHaveProperty('broadcast')
  await until('the lease is recorded', () => made.leases.length > 0)
  const [lease] = made.leases
  expect(lease).toMatchObject({
    allocation_id: 'allocation of 10.77.0.10',
    network_id: network.id,
    address: '10.77.0.10',
    mac_address: macOf(10),
    client_id: `01${macOf(10).replaceAll(':', '')}`,
    state: 'bound',
    relay: null,
  })
  expect(Number(lease?.ends_at) - Number(lease?.at)).toBe(3_600_000)
  expect(made.driver.problems()).toEqual([])
})

test('hosts come, change and go without a restart; addresses move on with what is leased', async () => {
  const made = await serve([10])
  await put(made, host(11))
  expect(await askV4(11)).toMatchObject({ ip: '10.77.0.11', hostname: 'host11' })
  const moved = newHost(11, [[subnet4, '10.77.0.111']])
  await put(made, moved)
  expect(await askV4(11)).toMatchObject({ ip: '10.77.0.111' })
  await remove(made, 11)
  expect(await askV4(11)).toBeNull()
  // The address is leased to the host that went.
  await put(made, newHost(12, [[subnet4, '10.77.0.111']]))
  expect(await askV4(12)).toMatchObject({ ip: '10.77.0.111', hostname: 'host12' })
  // It comes again, with another name and with other options.
  await put(made, host(11, { host_name: 'other' }))
  expect(await askV4(11)).toMatchObject({ ip: '10.77.0.11', hostname: 'other' })
  expect(made.leases.filter(({ state }) => state !== 'bound')).toEqual([])
  expect(made.driver.problems()).toEqual([])
})

test('a host that goes, or gets another address, is refused when it renews', async () => {
  const made = await serve([10])
  const udhcpc = startUdhcpc(10)
  await udhcpc.wrote(/end of bound/)
  udhcpc.child.kill('SIGUSR1')
  await udhcpc.wrote(/end of renew/)
  await put(made, newHost(10, [[subnet4, '10.77.0.110']]))
  udhcpc.child.kill('SIGUSR1')
  await udhcpc.wrote(/end of nak[\s\S]*end of bound/)
  expect(saidAt('bound', udhcpc)).toMatchObject({ ip: '10.77.0.110' })
  await remove(made, 10)
  udhcpc.child.kill('SIGUSR1')
  await udhcpc.wrote(/end of nak[\s\S]*end of nak/)
  udhcpc.child.kill()
})

test('who has options of its own is told these, and a long name whole', async () => {
  const made = await serve([])
  const options = [
    { code: 3, value: ['10.77.0.7'] },
    { code: 51, value: 7200 },
    { code: 17, value: '\\n",tag:known,6,10.0.0.1' },
    { code: 224, value: '2c2231' },
    { code: 19, value: true },
  ]
  const own = [{ block_id: subnet4.block_id, options }]
  await put(made, host(10, { host_name: 'a.b.example.org', options: own }), host(11))
  const told = await askV4(10, '-O', '224', '-O', '19')
  expect(told).toMatchObject({
    ip: '10.77.0.10',
    router: '10.77.0.7',
    lease: '7200',
    hostname: 'a.b.example.org',
    rootpath: '\\n",tag:known,6,10.0.0.1',
    opt224: '2c2231',
    opt19: '01',
  })
  expect(told).not.toHaveProperty('dns')
  expect(await askV4(11)).toMatchObject({ router: '10.77.0.254', hostname: 'host11' })
  // dnsmasq has such hosts in its memory when everything is to be read again.
  await put(made, host(10, { host_name: 'now-this', options: own }))
  expect(await askV4(10)).toMatchObject({ hostname: 'now-this', router: '10.77.0.7' })
  expect(made.driver.problems()).toEqual([])
})

test('names that mean something to dnsmasq are names', async () => {
  const names = ['ignore', 'infinite', '12h', '3600', '_sip._udp', '0x1f', 'a'.repeat(63)]
  const made = await serve([])
  await put(made, ...names.map((host_name, place) => host(20 + place, { host_name })))
  expect(made.driver.problems()).toEqual([])
  for (const [place, hostname] of names.entries()) {
    expect(await askV4(20 + place)).toMatchObject({ ip: `10.77.0.${20 + place}`, hostname })
  }
})

test('clients boot what their architecture needs', async () => {
  const boot_files = [
    { architectures: [7, 9], server: '10.77.0.66', file: 'efi, "64"' },
    { architectures: [0], server: null, file: 'bios.0' },
  ]
  const options = [
    ...subnet4.options,
    { code: 66, value: '10.77.0.67' },
    { code: 67, value: 'usual' },
  ]
  const booting = newNetwork(1, [{ ...subnet4, options, boot_files }, subnet6])
  await serve([10], {}, booting)
  expect(await askV4(10, '-x', '0x5d:0007')).toMatchObject({
    bootfile: 'efi, "64"',
    tftp: '10.77.0.66',
    siaddr: '10.77.0.66',
  })
  expect(await askV4(10, '-x', '0x5d:0000')).toMatchObject({
    bootfile: 'bios.0',
    tftp: '10.77.0.67',
    siaddr: '10.77.0.67',
  })
  expect(await askV4(10)).toMatchObject({ bootfile: 'usual', siaddr: '10.77.0.67' })
})

test('hosts are known by the identifier of a client', async () => {
  const made = await serve([])
  const none = { mac_address: null, host_name: null }
  await put(made, host(30, { ...none, client_id: '00ab2c22' }))
  expect(await askV4(31, '-x', '0x3d:00ab2c22')).toMatchObject({ ip: '10.77.0.30' })
  expect(await askV4(31)).toBeNull()
  await until('the lease is recorded', () => made.leases.length > 0)
  expect(made.leases[0]).toMatchObject({ client_id: '00ab2c22', mac_address: macOf(31) })
})

test('what a client gives back, and what it finds in use, is recorded', async () => {
  const made = await serve([10])
  const udhcpc = startUdhcpc(10)
  await udhcpc.wrote(/end of bound/)
  udhcpc.child.kill('SIGUSR2')
  const states = () => made.leases.map(({ state }) => state)
  await until('the release is recorded', () => states().includes('released'))
  expect(states()).toEqual(['bound', 'released'])
  udhcpc.child.kill()

  const leave = lab.occupy(near, '10.77.0.10/24')
  expect(await askV4(10, '-a')).toBeNull()
  leave()
  await until('the decline is recorded', () => states().includes('declined'))
  expect(made.leases.at(-1)).toMatchObject({ address: '10.77.0.10', mac_address: macOf(10) })
  expect(states().filter(state => state === 'released')).toHaveLength(1)
  expect(await askV4(10)).toBeNull()
})

test('an unknown client gets an address where that is wanted, for as long as it uses it', async () => {
  const unknown_clients = { project_id: 'p', lease_seconds: 120, purpose: null }
  const open = newNetwork(1, [
    { ...subnet4, unknown_clients },
    { ...subnet6, unknown_clients },
  ])
  const made = await serve([10], {}, open)
  expect(await askV4(40)).toBeNull()
  made.free.push('10.77.0.140', 'fd77::141')
  // Who was refused is not asked for at once.
  expect(await askV4(41)).toMatchObject({ ip: '10.77.0.140', lease: '120' })
  await until('the hold is renewed', () => made.renewed.length > 0)
  expect(made.leases.at(-1)).toMatchObject({ allocation_id: `of ${macOf(41)}`, state: 'bound' })
  expect(await askV6(42)).toMatchObject({ new_ip6_address: 'fd77::141' })
  expect(await askV4(43)).toBeNull()
})

test('IPv6: addresses and options, lost with the host, and found again by a new client', async () => {
  const made = await serve([10])
  expect(await askV6(10)).toMatchObject({
    new_ip6_address: 'fd77::10',
    new_dhcp6_name_servers: 'fd77::53',
    new_dhcp6_domain_search: 'example.com.',
    new_max_life: '3600',
  })
  await until('the lease is recorded', () => made.leases.length > 0)
  expect(made.leases[0]).toMatchObject({
    allocation_id: 'allocation of fd77::10',
    mac_address: macOf(10),
    state: 'bound',
  })
  expect(made.leases[0]?.duid).toMatch(/^0001/)
  // The same machine after it was installed anew.
  expect(await askV6(10, '-D', 'LL')).toMatchObject({ new_ip6_address: 'fd77::10' })
  await put(made, newHost(11, [[subnet6, 'fd77::10']], { mac_address: macOf(11) }), {
    ...host(10),
    addresses: [],
  })
  expect(await askV6(11)).toMatchObject({ new_ip6_address: 'fd77::10' })
  expect(made.driver.problems()).toEqual([])
})

test('a host is known by its DUID, whatever its MAC is', async () => {
  const made = await serve([])
  await put(made, host(50, { mac_address: null, duid: `00030001${macOf(51).replaceAll(':', '')}` }))
  expect(await askV6(51, '-D', 'LL')).toMatchObject({ new_ip6_address: 'fd77::50' })
})

test('one that ends is started again, with its leases and what has changed since', async () => {
  const folder = newFolder()
  const made = await serve([10], {}, network, folder)
  const dhclient = await startDhclient6(10)
  await dhclient.wrote(/end of BOUND6/)
  process.kill(pidIn(folder), 'SIGKILL')
  await until('the problem is seen', () => made.driver.problems().length > 0)
  expect(made.driver.problems()).toEqual([
    `dnsmasq of network ${network.id} does not run: it was ended by SIGKILL`,
  ])
  await put(made, host(11))
  await until('it runs again', () => made.driver.problems().length === 0)
  expect(readFileSync(join(unitOf(folder), 'leases'), 'utf8')).toContain(' fd77::10 ')
  dhclient.child.kill()
  expect(await askV4(11)).toMatchObject({ ip: '10.77.0.11' })
  expect(await askV4(10)).toMatchObject({ ip: '10.77.0.10' })
})

test('what a killed process left is taken over: its dnsmasq, and leases that nobody read', async () => {
  const folder = newFolder()
  await (await serve([10], {}, network, folder)).driver.stop()
  const unit = unitOf(folder)
  const command = ['dnsmasq', '--keep-in-foreground', `--conf-file=${unit}/dnsmasq.conf`]
  const left = lab.start(near.space, ...command)
  await left.wrote(/read .*options/)
  expect(await askV4(10)).toMatchObject({ ip: '10.77.0.10' })
  const made = await serve([10, 11], {}, network, folder)
  await left.ended
  await until('the lease is recorded', () => made.leases.length > 0)
  expect(made.leases).toMatchObject([{ address: '10.77.0.10', state: 'bound' }])
  expect(await askV4(11)).toMatchObject({ ip: '10.77.0.11' })
})

test('after stop nothing runs and nobody is answered', async () => {
  const folder = newFolder()
  const made = await serve([10], {}, network, folder)
  const pid = pidIn(folder)
  await made.driver.stop()
  expect(() => process.kill(pid, 0)).toThrow(/ESRCH/)
  expect(await askV4(10)).toBeNull()
})

test('changes of networks are taken over: options, subnets, and that there is none any more', async () => {
  const made = await serve([10])
  const change = (...subnets: (typeof subnet4)[]) =>
    made.apply({ type: 'network', network: newNetwork(1, subnets) })
  await change({ ...subnet4, options: [{ code: 3, value: ['10.77.0.9'] }] }, subnet6)
  const told = await askV4(10)
  expect(told).toMatchObject({ router: '10.77.0.9', ip: '10.77.0.10' })
  expect(told).not.toHaveProperty('dns')
  const more = newSubnet(3, '10.78.0.0/24')
  await change(subnet4, subnet6, more)
  await put(made, newHost(12, [[more, '10.78.0.12']]))
  expect(await askV4(12)).toMatchObject({ ip: '10.78.0.12', serverid: '10.77.0.1' })
  await made.apply({ type: 'network_gone', network_id: network.id })
  expect(await askV4(10)).toBeNull()
  await change(subnet4)
  await put(made, host(10))
  expect(await askV4(10)).toMatchObject({ ip: '10.77.0.10' })
  expect(made.driver.problems()).toEqual([])
})

test('IPv6 is announced, and that addresses come by DHCPv6', async () => {
  lab.setMac(client, macOf(10))
  const filter = 'icmp6 and ip6[40] == 134'
  const tcpdump = lab.start(client.space, 'tcpdump', '-n', '-v', '-c1', '-i', 'vc0', filter)
  await tcpdump.wrote(/listening/)
  await serve([10])
  await tcpdump.wrote(/router advertisement[\s\S]*fd77::\/64/)
  expect(tcpdump.output).toMatch(/Flags \[managed, other stateful\].* router lifetime 0s/)
  expect(tcpdump.output).toMatch(/fd77::\/64, Flags \[onlink\]/)
})

test('names of hosts are answered, and follow changes', async () => {
  const dnsmasq = { dns_port: 53 }
  const made = await serve([10], { dnsmasq })
  const resolve = (name: string, kind: string) =>
    lab
      .run(
        near.space,
        process.execPath,
        '--eval',
        `const resolver = new (require('node:dns').promises.Resolver)()
        resolver.setServers(['10.77.0.1'])
        resolver.resolve('${name}', '${kind}').then(all => console.log(all.join()), error => console.log(error.code))`,
      )
      .trim()
  expect(resolve('host10.example.com', 'A')).toBe('10.77.0.10')
  expect(resolve('host10.example.com', 'AAAA')).toBe('fd77::10')
  expect(resolve('10.0.77.10.in-addr.arpa', 'PTR')).toBe('host10.example.com')
  await put(made, host(10, { host_name: 'renamed' }), host(11, { host_name: 'x.example.net' }))
  expect(resolve('renamed.example.com', 'A')).toBe('10.77.0.10')
  expect(resolve('host10.example.com', 'A')).toMatch(/ENOTFOUND|ECONNREFUSED|ESERVFAIL|EREFUSED/)
  expect(resolve('x.example.net', 'A')).toBe('10.77.0.11')
  await remove(made, 11)
  await until('the name is gone', () => resolve('x.example.net', 'A') !== '10.77.0.11')
})

test('what dnsmasq cannot do is said, and what is set wrong is refused', async () => {
  const prefix = {
    ...host(10),
    addresses: [...host(10).addresses, ...newHost(10, [[subnet6, 'fd77:0:0:1::/64']]).addresses],
  }
  const wide = newSubnet(4, 'fd78::/56')
  const long = { code: 224, value: '00'.repeat(256) }
  const odd = newNetwork(1, [{ ...subnet4, options: [...subnet4.options, long] }, subnet6, wide])
  const made = await serve([], {}, odd)
  await put(made, prefix)
  const where = `dnsmasq of network ${network.id}`
  expect(made.driver.problems()).toEqual([
    `${where}: subnet fd78::/56: dnsmasq serves no IPv6 subnet larger than /64`,
    `${where}: subnet 10.77.0.0/24: dnsmasq cannot tell option 224`,
    `${where} cannot tell delegated prefixes: 1 hosts`,
  ])
  expect(await askV4(10)).toMatchObject({ ip: '10.77.0.10' })
  await made.driver.stop()
  world = null

  const refused = async (settings: object, folder = newFolder()) => {
    const wrong = new DnsmasqWorld(settings, folder)
    for (const number of [1, 2]) {
      wrong.take({
        type: 'network',
        network: newNetwork(number, [newSubnet(number, '10.0.0.0/24')]),
      })
    }
    return await wrong.driver.start().then(
      () => 'started',
      error => `${error.name}: ${error.message}`,
    )
  }
  const at = (number: number, more: object = {}) => ({ id: newNetwork(number, []).id, ...more })
  const here = { interface: near.device, namespace: near.space }
  expect(await refused({ networks: [at(1, { ...here, interface: 'none0' })] })).toMatch(
    /^DiscoveryError: dnsmasq does not run: .*none0/,
  )
  expect(await refused({ networks: [at(1)] })).toBe(
    `DiscoveryError: network ${network.id} has no interface, and relay_listen has no address for it`,
  )
  expect(await refused({ networks: [at(1, here), at(2, here)] })).toMatch(
    /another network is served on its interface vs0/,
  )
  const relay_listen = [{ address: '10.77.0.1', namespace: near.space }]
  expect(await refused({ networks: [at(1), at(2)], relay_listen })).toMatch(
    /^DiscoveryError: dnsmasq cannot serve networks .* behind relays of the namespace .*: 10.0.0.0\/24 is in both$/,
  )
  const spaced = join(lab.folder, 'with space')
  mkdirSync(spaced)
  expect(await refused({ networks: [at(1, here)] }, spaced)).toMatch(/^DiscoveryError: state_dir: /)
  expect(
    await refused({ networks: [at(1, here)], dnsmasq: { program: 'no-such-dnsmasq' } }),
  ).toMatch(/^DiscoveryError: dnsmasq does not run: /)
})

test('relays are answered for their networks, and what they say is recorded', async () => {
  const relay = lab.space('relay')
  const far = { space: lab.space('far'), device: 'vc2', mac: macOf(60) }
  lab.join(
    { space: near.space, device: 'vs1', addresses: ['10.79.0.1/24', 'fd79::1/64'] },
    { space: relay, device: 'up0', addresses: ['10.79.0.2/24', 'fd79::2/64'] },
  )
  const down = { space: relay, device: 'down0', addresses: ['10.80.0.1/24', 'fd80::1/64'] }
  lab.join(down, far)
  lab.run(near.space, 'ip', 'route', 'add', '10.80.0.0/24', 'via', '10.79.0.2')
  lab.run(near.space, 'ip', 'route', 'add', 'fd80::/64', 'via', 'fd79::2')
  const subnet = newSubnet(5, '10.80.0.0/24', { options: [{ code: 3, value: ['10.80.0.1'] }] })
  const other = newSubnet(6, '10.81.0.0/24')
  const behind = newNetwork(2, [subnet, other, newSubnet(7, 'fd80::/64')])
  const [, , subnet6of2] = behind.subnets
  const made = await serve([10], {
    networks: [
      { id: network.id, interface: near.device, namespace: near.space },
      { id: behind.id, relays: [{ address: '10.80.0.1' }, { address: 'fd80::1' }] },
    ],
    relay_listen: [
      { address: '10.79.0.1', namespace: near.space },
      { address: 'fd79::1', namespace: near.space },
    ],
  })
  if (!subnet6of2) throw new Error('no subnet')
  await made.apply(
    { type: 'network', network: behind },
    {
      type: 'host',
      network_id: behind.id,
      host: newHost(60, [
        [subnet, '10.80.0.60'],
        [subnet6of2, 'fd80::60'],
      ]),
    },
    { type: 'host', network_id: behind.id, host: newHost(61, [[other, '10.81.0.61']]) },
  )
  expect(made.driver.problems()).toEqual([])
  const dhcrelay = lab.start(
    ...[relay, 'dhcrelay', '-4', '-d', '-a', '--no-pid', '-iu', 'up0', '-id', 'down0', '10.79.0.1'],
  )
  await dhcrelay.wrote(/Sending on +Socket/)
  const ask = async (number: number) => {
    lab.setMac(far, macOf(number))
    const flags = ['-i', far.device, '-f', '-q', '-n', '-t', '4', '-T', '1', '-s', udhcpcScript]
    const udhcpc = lab.start(far.space, 'udhcpc', ...flags)
    await udhcpc.ended
    return udhcpc.output.includes('end of bound') ? saidAt('bound', udhcpc) : null
  }
  expect(await ask(60)).toMatchObject({ ip: '10.80.0.60', router: '10.80.0.1' })
  expect(await ask(61)).toMatchObject({ ip: '10.81.0.61' })
  expect(await ask(62)).toBeNull()
  await until('leases are recorded', () => made.leases.length > 1)
  expect(made.leases[0]).toMatchObject({
    network_id: behind.id,
    address: '10.80.0.60',
    relay: { address: '10.80.0.1', circuit_id: Buffer.from('down0').toString('hex') },
  })
  // The host on the server's own link is still there, and what moved on is given to others.
  expect(await askV4(10)).toMatchObject({ ip: '10.77.0.10', router: '10.77.0.254' })
  await made.apply(
    { type: 'host_gone', network_id: behind.id, host_id: newHost(60, []).id },
    { type: 'host', network_id: behind.id, host: newHost(63, [[subnet, '10.80.0.60']]) },
  )
  expect(await ask(63)).toMatchObject({ ip: '10.80.0.60' })
  dhcrelay.child.kill()

  await lab.hasLinkLocal(far)
  await made.apply({
    type: 'host',
    network_id: behind.id,
    host: newHost(63, [[subnet6of2, 'fd80::63']]),
  })
  const dhcrelay6 = lab.start(
    ...[relay, 'dhcrelay', '-6', '-d', '--no-pid', '-l', 'down0', '-u', 'fd79::1%up0'],
  )
  await dhcrelay6.wrote(/Sending on +Socket/)
  const file = join(lab.folder, 'dhclient-far')
  const files = ['-cf', '/dev/null', '-lf', file, '-pf', `${file}.pid`, '-sf', dhclientScript]
  const args = ['-6', '-d', '-1', '-D', 'LL', ...files, far.device]
  const dhclient = lab.start(far.space, 'dhclient', ...args)
  expect(await dhclient.wrote(/end of BOUND6/)).toBeTruthy()
  expect(saidAt('BOUND6', dhclient)).toMatchObject({ new_ip6_address: 'fd80::63' })
  await until('the lease is recorded', () => made.leases.at(-1)?.address === 'fd80::63')
  expect(made.leases.at(-1)?.relay).toMatchObject({ address: 'fd80::1' })
})
