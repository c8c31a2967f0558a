import { expect, test } from 'vitest'
import { blockId, hostOf, networkOf, subnetOf } from '../../../test/helpers/kea-world.ts'
import { type RowSettings, rowsOf } from './rows.ts'

const now = Date.parse('2026-01-01T00:00:00Z')
const settings: RowSettings = {
  ids: { of: (_network, block) => Number.parseInt(block.slice(-6), 16) },
  lease_seconds: 3600,
  is_direct: true,
  now,
}
const network = networkOf(1, [subnetOf(1, '10.0.0.0/24'), subnetOf(2, 'fd00::/64')])
const inSeconds = (seconds: number) => new Date(now + seconds * 1000).toISOString()

test('a host has a row in each subnet for each of its names', () => {
  const addresses = [
    [1, '10.0.0.11'],
    [2, 'fd00::11'],
  ] as const
  const host = hostOf(1, addresses, { client_id: '0102', duid: '000300', host_name: 'vm"1' })
  const { rows, changes_at } = rowsOf(host, network, settings)
  expect(changes_at).toBeNull()
  const found = rows.map(({ columns }) => columns)
  expect(found).toMatchObject([
    { version: 4, subnet_id: 1, identifier: '024b45000001', identifier_type: 0, ipv4: 0x0a00000b },
    { version: 4, identifier: '0102', identifier_type: 3, ipv4: 0x0a00000b },
    { version: 6, subnet_id: 2, identifier_type: 0, ipv4: null },
    { version: 6, identifier: '000300', identifier_type: 1 },
  ])
  expect(found[0]?.options).toEqual([{ code: 12, hex: Buffer.from('vm"1').toString('hex') }])
  expect(found[2]?.reservations).toEqual([{ address: 'fd00::11', prefix_length: 128, type: 0 }])
  expect(new Set(rows.map(({ digest }) => digest)).size).toBe(4)
  expect(rowsOf(structuredClone(host), network, settings).rows).toEqual(rows)
})

test('names that Kea has no room for are left out', () => {
  const host = hostOf(1, [[1, '10.0.0.11']], { mac_address: null, client_id: 'ab'.repeat(129) })
  expect(rowsOf(host, network, settings).rows).toEqual([])
})

test('a delegated prefix is one', () => {
  const { rows } = rowsOf(hostOf(1, [[2, 'fd00:0:0:1::/64']]), network, settings)
  expect(rows[0]?.columns.reservations).toEqual([
    { address: 'fd00:0:0:1::', prefix_length: 64, type: 2 },
  ])
  expect(rows[0]?.reserved).toMatchObject([{ address: 'fd00:0:0:1::', prefix_length: 64 }])
})

test('of several IPv4 addresses the oldest counts, or the oldest in each subnet that a relay says', () => {
  const both = networkOf(1, [subnetOf(1, '10.0.0.0/24'), subnetOf(3, '10.0.1.0/24')])
  const host = hostOf(1, [
    [3, '10.0.1.9'],
    [1, '10.0.0.11'],
    [1, '10.0.0.12'],
  ])
  const addressesOf = (is_direct: boolean) =>
    rowsOf(host, both, { ...settings, is_direct }).rows.flatMap(({ reserved }) =>
      reserved.map(({ address }) => address),
    )
  expect(addressesOf(true)).toEqual(['10.0.1.9'])
  expect(addressesOf(false)).toEqual(['10.0.0.11', '10.0.1.9'])
})

test('what is withheld is told to nobody until its time', () => {
  const host = hostOf(1, [[1, { address: '10.0.0.11', withheld_until: inSeconds(5) }]])
  expect(rowsOf(host, network, settings)).toEqual({ rows: [], changes_at: now + 5000 })
  const then = rowsOf(host, network, { ...settings, now: now + 5000 })
  expect(then.rows).toHaveLength(1)
  expect(then.changes_at).toBeNull()
})

const hold = (seconds: number) =>
  hostOf(1, [[1, { address: '10.0.0.11', expires_at: inSeconds(seconds) }]])

test.each([
  [10_000, null, 10_000 - 3600],
  [3601, null, 1],
  [3600, 2048, 3600 - 2048],
  [100, 64, 36],
  [9, 8, 1],
  [8, 8, 8],
  [1, 8, 1],
])('with %i s left of a hold a lease has %j s', (left, seconds, change) => {
  const { rows, changes_at } = rowsOf(hold(left), network, settings)
  expect(rows[0]?.seconds).toBe(seconds)
  expect(rows[0]?.columns.class_name).toBe(seconds === null ? null : `melange-lease-${seconds}`)
  expect(changes_at).toBe(now + change * 1000)
})

test('a hold that is over is nothing', () => {
  expect(rowsOf(hold(0), network, settings)).toEqual({ rows: [], changes_at: null })
})

test('the hold of a client that asked is renewed by its leases, which are as long', () => {
  const unknown_clients = { project_id: 'red', lease_seconds: 600, purpose: null }
  const open = networkOf(1, [subnetOf(1, '10.0.0.0/24', { unknown_clients })])
  const client = { ...hold(20), type: 'client' as const }
  const { rows, changes_at } = rowsOf(client, open, settings)
  expect(rows[0]?.seconds).toBe(600)
  expect(changes_at).toBe(now + 20_000)
})

test('what is set on a host stands in its rows where it differs from the subnet', () => {
  const [usual] = network.subnets
  const options = [
    ...(usual?.options ?? []).filter(({ code }) => code !== 6),
    { code: 6, value: ['10.0.0.99'] },
    { code: 51, value: 300 },
    { code: 67, value: 'own.img' },
  ]
  const host = hostOf(1, [[1, '10.0.0.11']], { options: [{ block_id: blockId(1), options }] })
  const [row] = rowsOf(host, network, settings).rows
  expect(row).toMatchObject({ seconds: 300, columns: { boot_file_name: 'own.img' } })
  expect(row?.columns.options).toEqual([
    { code: 6, hex: '0a000063' },
    { code: 67, hex: Buffer.from('own.img').toString('hex') },
  ])
})
