import { afterAll, expect, test } from 'vitest'
import type { Cloud } from '../helpers/cloud.ts'
import { startDhclient, startUdhcpc } from '../helpers/dhcp-clients.ts'
import { DhcpProcess } from '../helpers/dhcp-process.ts'
import { acquire4, hexOfText } from '../helpers/exchanges.ts'
import { useField } from '../helpers/field.ts'
import type { Segment } from '../helpers/netlab.ts'
import { PacketClient } from '../helpers/packet-client.ts'

// What a machine boots from depends on what it says it is (RFC 4578 §2.1).

const bios = { server: '10.22.0.7', file: 'pxelinux.0' }
const efi = { server: '10.22.0.8', file: 'grubx64.efi' }
const arm = { server: 'boot.example', file: 'grubaa64.efi' }
const rest = { server: '10.22.0.9', file: 'other.ipxe' }

let cloud: Cloud
let lan: Segment
let client: PacketClient
const macOf = (n: number) => `02:4d:4e:00:00:0${n}`

useField(async field => {
  cloud = field.cloud
  lan = await field.lab.segment('lan')
  await lan.capture()
  const policy_id = await cloud.policy({
    boot_files: [
      { architectures: [0], ...bios },
      { architectures: [7, 9], ...efi },
      { architectures: [11], ...arm },
    ],
  })
  const scope_id = await cloud.scope('boot')
  const { id } = await cloud.network({ name: 'boot', policy_id })
  await cloud.block({ scope_id, cidr: '10.22.0.0/24', network_id: id })
  await cloud.option(`networks/${id}`, 4, 'tftp-server-name', rest.server)
  await cloud.option(`networks/${id}`, 4, 'bootfile-name', rest.file)
  await cloud.option(`networks/${id}`, 4, 'vendor-options', '0601080a')
  await cloud.option(`networks/${id}`, 4, '150', ['10.22.0.9'])
  await cloud.allocate({ network_id: id, address: '10.22.0.2' })
  for (const n of [1, 2, 3, 4, 5, 6]) {
    const addresses = [`10.22.0.${10 + n}`]
    await cloud.interface(id, { mac_address: macOf(n), addresses })
  }
  const served = await lan.machine('served', { addresses: ['10.22.0.2/24'] })
  client = await PacketClient.open(await lan.machine('client'))
  await DhcpProcess.start(cloud, {
    networks: [{ id, interface: 'eth0', namespace: served.name }],
  })
})
afterAll(() => client?.close())

const architecture = (code: number) => code.toString(16).padStart(4, '0')

test.each([
  ['BIOS', 0, bios],
  ['EFI, 64 bits', 7, efi],
  ['EFI byte code', 9, efi],
  ['EFI for ARM', 11, arm],
  ['an architecture of which nothing is said', 6, rest],
])('firmware: %s', async (_name, code, { server, file }) => {
  const pxe = { 93: architecture(code), 94: '010201', 97: `00${'ab'.repeat(16)}` }
  const options = { ...pxe, 60: hexOfText(`PXEClient:Arch:${String(code).padStart(5, '0')}`) }
  const wants = [1, 3, 43, 60, 66, 67, 128, 150]
  const ack = await acquire4(client, { mac: macOf(1), options, wants })
  expect(ack.options.get(66)).toBe(hexOfText(server))
  expect(ack.options.get(67)).toBe(hexOfText(file))
  expect(ack.options.get(43)).toBe('0601080a')
  expect(ack.file).toBe(file)
  expect(ack).toMatchObject(
    /^\d/.test(server) ? { siaddr: server, sname: '' } : { siaddr: '0.0.0.0', sname: server },
  )
})

test('a machine that says no architecture', async () => {
  const ack = await acquire4(client, { mac: macOf(2), wants: [1, 66, 67] })
  expect(ack).toMatchObject({ siaddr: rest.server, file: rest.file })
})

test('dhclient', async () => {
  const machine = await lan.machine('isc', { mac: macOf(3) })
  const config = ['option architecture code 93 = unsigned integer 16;', 'send architecture 7;']
  expect(await startDhclient(machine, { config }).tells('bound')).toMatchObject({
    boot_file: efi.file,
    tftp_server: efi.server,
    next_server: efi.server,
  })
})

test.each([
  [0, 4, bios],
  [7, 5, efi],
  [9, 6, efi],
])('udhcpc with architecture %i', async (code, n, { server, file }) => {
  const machine = await lan.machine(`busybox${n}`, { mac: macOf(n) })
  const args = ['-x', `0x5d:${architecture(code)}`, '-V', 'PXEClient']
  expect(await startUdhcpc(machine, { args }).tells('bound')).toMatchObject({
    boot_file: file,
    tftp_server: server,
    next_server: server,
  })
})
