import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { problemsIn } from '../helpers/capture.ts'
import {
  releaseDhclient,
  startDhclient,
  startDhcpcd,
  startUdhcpc,
} from '../helpers/dhcp-clients.ts'
import { option4, packetOf, readPacket } from '../helpers/dhcp4-packets.ts'
import { clientId, duidLL, iaNa, packet, plain, show } from '../helpers/dhcp6.ts'
import { type Lab, openLab, type Segment, type Space } from '../helpers/netlab.ts'
import { PacketClient } from '../helpers/packet-client.ts'
import { Program } from '../helpers/programs.ts'
import { waitUntil } from '../helpers/race-load.ts'

// What the other tests lean on, tried with a server that is not ours.

let lab: Lab
let segment: Segment
let server: Space

beforeAll(async () => {
  lab = openLab()
  segment = await lab.segment('lan')
  server = await segment.machine('server', { addresses: ['10.9.0.1/24', 'fd09::1/64'] })
  const dnsmasq = server.start(
    ...['dnsmasq', '-k', '-C', '/dev/null', '--port=0', '--interface=eth0', '--bind-interfaces'],
    ...['--user=root', '--no-ping', '--log-dhcp', '--log-facility=-', '--pid-file'],
    `--dhcp-leasefile=${lab.folder}/leases`,
    ...['--dhcp-range=10.9.0.100,10.9.0.200,255.255.255.0,1h', '--dhcp-authoritative'],
    ...['--dhcp-range=fd09::100,fd09::200,64,1h', '--dhcp-option=119,one.example,two.example'],
    ...['--dhcp-option=15,one.example', '--dhcp-option=42,10.9.0.8', '--dhcp-option=26,1400'],
    ...['--dhcp-option=121,192.0.2.0/24,10.9.0.1,0.0.0.0/0,10.9.0.1', '--dhcp-option=6,10.9.0.9'],
    ...['--dhcp-option=option6:23,[fd09::9]', '--dhcp-boot=pxe.0,boot,10.9.0.7'],
    ...['--dhcp-option=option6:24,one.example'],
  )
  await dnsmasq.heard(/DHCP, sockets bound/)
})
afterAll(() => lab.close())

const told4 = {
  prefix_length: 24,
  routers: ['10.9.0.1'],
  dns: ['10.9.0.9'],
  domain: 'one.example',
  search: ['one.example', 'two.example'],
  ntp: ['10.9.0.8'],
  mtu: 1400,
  routes: ['192.0.2.0/24 via 10.9.0.1', '0.0.0.0/0 via 10.9.0.1'],
  lease_seconds: 3600,
  server: '10.9.0.1',
  boot_file: 'pxe.0',
}

test.each([
  ['dhclient', startDhclient],
  ['udhcpc', startUdhcpc],
  ['dhcpcd', startDhcpcd],
])('%s tells what it was told, and has it on its device', async (name, start) => {
  const machine = await segment.machine(name)
  const told = await start(machine).tells('bound')
  expect(told).toMatchObject(told4)
  expect(await machine.addresses('eth0')).toEqual([`${told.address}/24`])
})

const told6 = {
  address: expect.stringMatching(/^fd09::1../),
  dns: ['fd09::9'],
  search: ['one.example'],
  lease_seconds: 3600,
}

test('dhclient and dhcpcd have IPv6, too', async () => {
  const [one, other] = await Promise.all([segment.machine('one6'), segment.machine('other6')])
  const dhclient = startDhclient(one, { version: 6 })
  const dhcpcd = startDhcpcd(other, { version: 6, config: ['interface eth0', 'ia_na 1'] })
  expect(await dhclient.tells('bound')).toMatchObject(told6)
  expect(await dhcpcd.tells('bound')).toMatchObject(told6)
})

test('renewals, releases and packets of all kinds are seen on the link', async () => {
  const capture = await segment.capture()
  const kinds = () =>
    capture
      .seen()
      .filter(({ to }) => to.port === 67)
      .map(({ payload }) => readPacket(payload).options.get(53))

  const busybox = await segment.machine('busybox')
  const udhcpc = startUdhcpc(busybox)
  await udhcpc.tells('bound')
  udhcpc.program.child.kill('SIGUSR1')
  await udhcpc.tells('renewed')
  udhcpc.program.child.kill('SIGUSR2')
  await waitUntil('a release', () => kinds().includes('07'), 20)

  const isc = await segment.machine('isc')
  const dhclient = startDhclient(isc)
  await dhclient.tells('bound')
  await releaseDhclient(isc, dhclient)
  expect(await isc.addresses('eth0')).toEqual([])
  await waitUntil('another', () => kinds().filter(kind => kind === '07').length === 2, 20)

  const maker = await segment.machine('maker')
  const client = await PacketClient.open(maker)
  client.send(
    packetOf({ mac: '02000000aa01', flags: '8000', options: option4(53, '01'), xid: 'cafe0001' }),
  )
  const offer = await client.receives('an offer', ({ place }) => place === '4:68')
  expect(readPacket(offer.bytes)).toMatchObject({ xid: 'cafe0001', mac: '02000000aa01', op: 2 })
  const solicit = plain('solicit', clientId(duidLL('02000000aa01')), iaNa(1, []))
  client.send(packet(solicit), { place: '6:546' })
  const advertise = await client.receives('an advertise', ({ place }) => place === '6:546')
  expect(show(advertise.bytes)[0]).toMatch(/^advertise abcdef .*fd09::1..=3600-3600/)
  client.close()
  await capture.stop()
  expect(await problemsIn(capture.file)).toEqual([])
})

test('what is malformed is found', async () => {
  const capture = await segment.capture()
  const client = await PacketClient.open(await segment.machine('breaker'))
  const sent = () => capture.seen().filter(({ to }) => [67, 547].includes(to.port))
  const broken = packetOf({ options: `${option4(53, '01')}0cff61`, end: '' })
  client.send(broken)
  client.send(packet('ff'), { place: '6:546' })
  await waitUntil('both packets', () => sent().length === 2, 20)
  client.close()
  await capture.stop()
  const problems = await problemsIn(capture.file)
  expect(problems.join('\n')).toMatch(/Malformed/)
})

test('a lab goes with the process that has opened it, however that ends', async () => {
  const file = `${lab.folder}/killed.mts`
  const helpers = fileURLToPath(new URL('../helpers', import.meta.url))
  writeFileSync(
    file,
    `import { openLab } from '${helpers}/netlab.ts'
     const space = await openLab().space('short-lived')
     space.start('sleep', 'infinity')
     console.log(space.name)
     setInterval(() => {}, 1000)`,
  )
  const child = new Program([process.execPath, '--import', 'tsx', file])
  const [, name = ''] = await child.heard(/^(ml-\d+-1-short-lived)$/m)
  const names = async () => (await new Program(['ip', 'netns', 'list']).succeeds()).stdout
  expect(await names()).toContain(name)
  await child.stop('SIGKILL')
  await waitUntil('its namespace is gone', async () => !(await names()).includes(name), 20)
})
