import { expect, test } from 'vitest'
import type { ServedHost, ServedNetwork } from '../../dhcp/served.ts'
import { createBook } from './book.ts'
import { type EntryFacts, entryOf } from './hosts.ts'
import { subnetsOf } from './subnets.ts'

const network: ServedNetwork = {
  id: 'n',
  project_id: null,
  name: 'n',
  mtu: null,
  subnets: [
    { cidr: '10.0.0.0/24', version: 4 as const, id: 'four' },
    { cidr: '10.1.0.0/24', version: 4 as const, id: 'more' },
    { cidr: 'fd00::/64', version: 6 as const, id: 'six' },
  ].map(({ id: block_id, ...subnet }) => ({
    ...subnet,
    block_id,
    gateway_ip: null,
    options: [],
    boot_files: [],
    unknown_clients: null,
  })),
}
const subnets = new Map(subnetsOf(network, 3600).map(one => [one.block_id, one]))
const blockOf = (address: string) =>
  address.includes(':') ? 'six' : address.startsWith('10.1.') ? 'more' : 'four'
const now = Date.parse('2026-01-01T00:00:00Z')

const hostOf = (id: string, addresses: readonly string[], more: Partial<ServedHost> = {}) => ({
  id,
  type: 'interface' as const,
  mac_address: `02:00:00:00:00:${id}`,
  client_id: null,
  duid: null,
  iaid: null,
  host_name: null,
  options: [],
  addresses: addresses.map(address => ({
    allocation_id: `of ${address}`,
    block_id: blockOf(address),
    address,
    expires_at: null,
    withheld_until: null,
  })),
  ...more,
})

const read = (host: ServedHost, more: Partial<EntryFacts> = {}) =>
  entryOf(host, {
    network_id: 'n',
    subnets,
    now,
    isDuidShared: false,
    learned_duid: null,
    declined: new Map(),
    ...more,
  })

const linesOf = (...given: Parameters<typeof read>) => {
  const { lines4, line6 } = read(...given)
  return [...lines4.map(({ text }) => text), ...(line6 === null ? [] : [line6])]
}

test('a host is a line for each subnet of IPv4, and one of IPv6', () => {
  const addresses = ['10.0.0.5', '10.0.0.6', '10.1.0.5', 'fd00::5', 'fd00::6']
  const more = { client_id: '0102', duid: '000401', host_name: 'web-1' }
  expect(linesOf(hostOf('01', addresses, more))).toEqual([
    '02:00:00:00:00:01,id:01:02,10.1.0.5,web-1',
    '02:00:00:00:00:01,id:01:02,10.0.0.5,web-1',
    '02:00:00:00:00:01,id:00:04:01,[fd00::6],[fd00::5]',
  ])
  expect(linesOf(hostOf('01', ['fd00::5'], more), { isDuidShared: true })).toEqual([
    '02:00:00:00:00:01,[fd00::5]',
  ])
})

test.each([
  'ignore',
  'infinite',
  '12h',
  '600',
  'set:known',
  'a,10.0.0.9',
  'a\n02:00:00:00:00:02,10.0.0.9',
  'id:*',
  '_x',
  'a.example.com',
  '',
])('the name %j is in no line of a host', host_name => {
  const { lines4, sets } = read(hostOf('01', ['10.0.0.5'], { host_name }))
  expect(lines4).toHaveLength(1)
  expect(lines4[0]?.text).toMatch(/^02:00:00:00:00:01(,set:o[0-9a-f]{20},set:own)?,10\.0\.0\.5$/)
  const told = [...sets.values()].flat()
  expect(told.every(line => /^tag:\w+,tag:bfour,12,"[a-z0-9._-]+"$/.test(line))).toBe(true)
})

test('what is withheld, has ended or is a prefix is in no line, and it is known when that changes', () => {
  const later = '2026-01-01T00:10:00.000Z'
  const host = hostOf('01', ['10.0.0.5', '10.1.0.5', 'fd00::5', 'fd00:0:0:1::/64'])
  const [first, second, third, ...rest] = host.addresses
  if (!first || !second || !third) throw new Error('no addresses')
  const addresses = [
    { ...first, withheld_until: later },
    { ...second, expires_at: '2025-12-31T23:59:59.000Z' },
    { ...third, expires_at: '2026-01-01T00:20:00.000Z' },
    ...rest,
  ]
  const entry = read({ ...host, addresses })
  expect([...entry.addresses.keys()]).toEqual(['fd00::5'])
  expect(entry.until).toBe(Date.parse(later))
  expect(entry.unsaid).toEqual(['delegated prefixes'])
  expect(linesOf(host, { declined: new Map([['10.0.0.5', now + 1]]) })).toEqual([
    '02:00:00:00:00:01,10.1.0.5',
    '02:00:00:00:00:01,[fd00::5]',
  ])
})

const take = (
  book: ReturnType<typeof createBook>,
  changes: Record<string, ReturnType<typeof read> | null>,
) => {
  const plan = book.take(new Map(Object.entries(changes)))
  if (plan.type === 'reload') book.reloaded()
  return plan.type === 'add' ? plan.hosts : plan.type
}

test('what dnsmasq can take over at once is added; for the rest it reads all again', () => {
  const book = createBook({ canForget: true })
  const of = (id: string, ...addresses: string[]) => read(hostOf(id, addresses))
  expect(take(book, { a: of('01', '10.0.0.1', 'fd00::1') })).toEqual([
    '02:00:00:00:00:01,10.0.0.1',
    '02:00:00:00:00:01,[fd00::1]',
  ])
  expect(take(book, { a: of('01', '10.0.0.1', 'fd00::1') })).toBe('nothing')
  expect(take(book, { a: of('01', '10.0.0.2', 'fd00::1') })).toEqual(['02:00:00:00:00:01,10.0.0.2'])
  // It still has the line with that address, and would take no second one.
  expect(take(book, { b: of('02', '10.0.0.1') })).toBe('reload')
  expect(take(book, { a: null })).toEqual(['02:00:00:00:00:01'])
  expect(book.ownerOf('10.0.0.2')).toBeNull()
  expect(take(book, { a: of('01', '10.0.0.3') })).toEqual(['02:00:00:00:00:01,10.0.0.3'])
  // Another subnet: the old line would go on to count there.
  expect(take(book, { a: of('01', '10.1.0.3') })).toBe('reload')
  expect(take(book, { a: null, c: of('01', '10.0.0.9') })).toBe('reload')
  // Two addresses change places.
  expect(take(book, { b: of('02', '10.0.0.9'), c: of('01', '10.0.0.1') })).toBe('reload')
  expect(book.hosts()).toEqual(['02:00:00:00:00:02,10.0.0.9', '02:00:00:00:00:01,10.0.0.1'])
})

test('where a name may be that of several hosts, one that goes is a reason to read all again', () => {
  const book = createBook({ canForget: false })
  take(book, { a: read(hostOf('01', ['10.0.0.1'])) })
  expect(take(book, { a: null })).toBe('reload')
})
