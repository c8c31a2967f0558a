import fc from 'fast-check'
import { expect, test } from 'vitest'
import { blockId, networkOf, subnetOf } from '../../../test/helpers/kea-world.ts'
import { describe, holdLifetimes, type Json, type Place, type Settings } from './configuration.ts'

const settings: Settings = {
  ids: { of: (_network, block) => Number.parseInt(block.slice(-6), 16) },
  lease_seconds: 3600,
  rapid_commit: false,
  lifetimes: new Set(),
}

const placeOf = (subnets: Parameters<typeof networkOf>[1], more: Partial<Place> = {}): Place => ({
  network: networkOf(1, subnets),
  interface: 'eth0',
  relays: [],
  ...more,
})

const classesOf = (places: readonly Place[]) =>
  describe(4, places, settings).classes.filter(({ name }) => !/-lease-/.test(String(name)))

test('a network with one subnet is that, and one with several is shared', () => {
  const one = describe(
    4,
    [placeOf([subnetOf(1, '10.0.0.0/24'), subnetOf(2, 'fd00::/64')])],
    settings,
  )
  expect(one.shared).toEqual([])
  expect(one.subnets).toMatchObject([
    {
      id: 1,
      subnet: '10.0.0.0/24',
      interface: 'eth0',
      'valid-lifetime': 3600,
      authoritative: true,
      'option-data': [
        { code: 3, space: 'dhcp4', 'csv-format': false, data: '0a000001' },
        { code: 6, data: '0a000035' },
      ],
    },
  ])
  const both = [subnetOf(1, '10.0.0.0/24'), subnetOf(2, '10.0.1.0/24')]
  const { subnets, shared } = describe(4, [placeOf(both)], settings)
  expect(subnets).toEqual([])
  expect(shared).toMatchObject([{ interface: 'eth0', subnet4: [{ id: 1 }, { id: 2 }] }])
})

test('times are those of the options, and in DHCPv6 shares of the lease', () => {
  const options = [51, 58, 59].map((code, n) => ({ code, value: [900, 100, 200][n] }))
  const [v4] = describe(4, [placeOf([subnetOf(1, '10.0.0.0/24', { options })])], settings).subnets
  expect(v4).toMatchObject({ 'valid-lifetime': 900, 'renew-timer': 100, 'rebind-timer': 200 })
  expect(v4?.['option-data']).toEqual([])
  const [v6] = describe(6, [placeOf([subnetOf(2, 'fd00::/64')])], settings).subnets
  expect(v6).toMatchObject({
    'valid-lifetime': 3600,
    'preferred-lifetime': 2250,
    't1-percent': 0.5,
    't2-percent': 0.8,
  })
})

test('who shares a network with unknown clients has leases as short as they', () => {
  const unknown_clients = { project_id: 'red', lease_seconds: 600, purpose: null }
  const open = subnetOf(1, '10.0.0.0/24', { unknown_clients })
  const secondsOf = (subnets: Parameters<typeof placeOf>[0]) => {
    const { subnets: alone, shared } = describe(4, [placeOf(subnets)], settings)
    const all = [...alone, ...shared.flatMap(({ subnet4 }) => subnet4 as Json[])]
    return all.map(subnet => subnet['valid-lifetime'])
  }
  expect(secondsOf([open])).toEqual([3600])
  expect(secondsOf([open, subnetOf(2, '10.0.1.0/24')])).toEqual([600, 3600])
})

test('a DHCPv6 client is told the options of all subnets, first those of its own', () => {
  const dns = { code: 23, value: ['fd00::1'] }
  const other = { code: 23, value: ['fd00::2'] }
  const subnets = [
    subnetOf(1, 'fd00::/64', { options: [dns] }),
    subnetOf(2, 'fd01::/48', { options: [other, { code: 82, value: 60 }] }),
  ]
  const [network] = describe(6, [placeOf(subnets)], settings).shared
  const told = ((network?.subnet6 ?? []) as Json[]).map(subnet =>
    (subnet['option-data'] as Json[]).map(({ data }) => data),
  )
  expect(told).toEqual([
    ['fd000000000000000000000000000001', '0000003c'],
    ['fd000000000000000000000000000002', '0000003c'],
  ])
})

test('relays that say a circuit are told apart by a class', () => {
  const relays = [
    { address: '10.9.0.1', circuit_id: "' or 'a' == 'a" },
    { address: '10.9.0.2' },
    { address: 'FD00:0::9', circuit_id: '0xAB' },
  ]
  const place = placeOf([subnetOf(1, '10.0.0.0/24')], { relays })
  const hex = Buffer.from("' or 'a' == 'a").toString('hex')
  expect(classesOf([place])).toEqual([
    {
      name: expect.stringMatching(/^melange-via-[0-9a-f]{16}$/),
      test: `(pkt4.giaddr == 10.9.0.1 and relay4[1].hex == 0x${hex}) or pkt4.giaddr == 10.9.0.2 or pkt4.giaddr == 0.0.0.0`,
    },
  ])
  const [subnet] = describe(4, [place], settings).subnets
  expect(subnet).toMatchObject({ relay: { 'ip-addresses': ['10.9.0.1', '10.9.0.2'] } })
  const v6 = { ...place, interface: null, network: networkOf(1, [subnetOf(2, 'fd00::/64')]) }
  expect(describe(6, [v6], settings).classes.at(-1)).toMatchObject({
    test: '(relay6[-1].linkaddr == fd00::9 and relay6[-1].option[18].hex == 0xab)',
  })
})

test('the first file that fits an architecture is chosen, and the usual one by all others', () => {
  const boot_files = [
    { architectures: [7], server: '10.0.0.9', file: 'efi.img' },
    { architectures: [], server: null, file: 'never.img' },
  ]
  const options = [
    { code: 66, value: 'tftp.example' },
    { code: 67, value: 'usual.img' },
  ]
  const place = placeOf([subnetOf(1, '10.0.0.0/24', { boot_files, options })])
  const [first, second, usual] = classesOf([place])
  expect(first).toMatchObject({ 'next-server': '10.0.0.9', 'boot-file-name': 'efi.img' })
  expect(String(first?.test)).toMatch(/^substring\(option\[93\]\.hex, 0, 2\) == 0x0007 or /)
  expect(second).toMatchObject({ 'server-hostname': 'tftp.example', 'boot-file-name': 'never.img' })
  expect(usual).toMatchObject({
    test: "not member('melange-boot-1-0') and not member('melange-boot-1-1')",
    'boot-file-name': 'usual.img',
  })
  const [subnet] = describe(4, [place], settings).subnets
  const names = [first, second, usual].map(one => one?.name)
  expect(subnet).toMatchObject({ 'option-data': [], 'require-client-classes': names })
})

/** All that can stand in a test of ours: names that we made, numbers and hex. */
const expression =
  /^(?:[()]| |and|or|not|==|,|[0-9]+|0x[0-9a-f]+|[0-9a-f.:]+|member\('melange-[0-9a-z-]+'\)|substring|option\[93\]\.hex|relay4\[1\]\.hex|relay6\[(?:0|-1)\](?:\.linkaddr|\.option\[(?:9|18)\]\.(?:hex|exists))|pkt4\.giaddr|'no'|'architecture')+$/

test('nothing that anybody may name gets into an expression or out of its value', () => {
  const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 40 })
  fc.assert(
    fc.property(text, text, text, text, (name, file, server, circuit_id) => {
      const boot_files = [{ architectures: [7], server, file }]
      const options = [
        { code: 12, value: name },
        { code: 67, value: file },
      ]
      const subnet = subnetOf(1, '10.0.0.0/24', { boot_files, options })
      const place = placeOf([subnet], { relays: [{ address: '10.9.0.1', circuit_id }] })
      const named = { ...place, network: { ...place.network, name } }
      const ours = describe(4, [named], settings)
      for (const { name: ofClass, test: text } of ours.classes) {
        expect(ofClass).toMatch(/^melange-[0-9a-z-]+$/)
        if (text !== undefined) expect(text).toMatch(expression)
      }
      const data = ours.subnets.flatMap(one => one['option-data'] as Json[])
      for (const one of data) expect(one.data).toMatch(/^([0-9a-f]{2})+$/)
      // What is left of names are whole values.
      expect(JSON.parse(JSON.stringify(ours))).toEqual(ours)
    }),
  )
})

test('lifetimes of holds are halves of each other, and each has its class', () => {
  expect(holdLifetimes.slice(0, 3)).toEqual([8, 16, 32])
  expect(holdLifetimes.at(-1)).toBeGreaterThan(31_536_000)
  const { classes } = describe(6, [], { ...settings, lifetimes: new Set([600, 8]) })
  expect(classes).toHaveLength(holdLifetimes.length + 1)
  expect(classes.at(-1)).toEqual({
    name: 'melange-lease-600',
    'valid-lifetime': 600,
    'preferred-lifetime': 375,
  })
})

test('a block is known by its own number', () => {
  const asked: string[] = []
  const ids = { of: (network: string, block: string) => asked.push(`${network} ${block}`) }
  describe(4, [placeOf([subnetOf(1, '10.0.0.0/24')])], { ...settings, ids })
  expect(asked).toEqual([`${networkOf(1, []).id} ${blockId(1)}`])
})
