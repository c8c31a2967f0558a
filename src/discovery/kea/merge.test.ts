import { expect, test } from 'vitest'
import type { Ours } from './configuration.ts'
import { failureFiles, type Needs, withOurs, withoutOurs } from './merge.ts'
import { withoutSecrets } from './process.ts'

const mark = { 'user-context': { melange: { network: 'n' } } }
const ours: Ours = {
  classes: [{ name: 'melange-lease-8' }],
  subnets: [{ id: 1, subnet: '10.0.0.0/24', ...mark }],
  shared: [{ name: 'melange-n', ...mark }],
  is_open: true,
}
const needs: Needs = {
  database: { type: 'postgresql', host: '/run/pg', port: 5432, name: 'kea', password: 'secret' },
  hook: null,
  failures: failureFiles(6, '/var/log/kea'),
}
const theirs = {
  'valid-lifetime': 4000,
  'host-reservation-identifiers': ['circuit-id', 'hw-address'],
  'client-classes': [{ name: 'theirs' }],
  'hooks-libraries': [{ library: '/lib/other.so' }],
  'hosts-database': { type: 'mysql', name: 'hosts' },
  subnet6: [{ id: 7, subnet: '10.7.0.0/24', 'user-context': { note: 'melange' } }],
  'shared-networks': [{ name: 'theirs', subnet6: [] }],
  loggers: [{ name: 'kea-dhcp6', severity: 'INFO' }],
}

test('what others have set stays, and ours goes as it came', () => {
  const merged = withOurs(6, theirs, ours, needs)
  expect(merged).toMatchObject({
    'valid-lifetime': 4000,
    'host-reservation-identifiers': ['hw-address', 'duid', 'circuit-id'],
    'ip-reservations-unique': false,
    'client-classes': [{ name: 'theirs' }, { name: 'melange-lease-8' }],
    'hosts-databases': [{ type: 'mysql' }, { host: '/run/pg' }],
    subnet6: [{ id: 7 }, { id: 1 }],
    'shared-networks': [{ name: 'theirs' }, { name: 'melange-n' }],
  })
  expect(merged).not.toHaveProperty('hosts-database')
  const names = (merged.loggers as { name: string }[]).map(({ name }) => name)
  expect(names).toEqual(['kea-dhcp6', 'kea-dhcp6.alloc-engine', 'kea-dhcp6.leases'])
  expect(withOurs(6, merged, ours, needs)).toEqual(merged)
  const { 'hosts-database': _, ...rest } = theirs
  expect(withoutOurs(6, merged)).toMatchObject({
    ...rest,
    'host-reservation-identifiers': expect.anything(),
  })
})

test('associations are noted only where unknown clients get addresses', () => {
  const merged = withOurs(6, {}, { ...ours, is_open: false }, needs)
  const names = (merged.loggers as { name: string }[]).map(({ name }) => name)
  expect(names).toEqual(['kea-dhcp6.alloc-engine'])
  expect(withOurs(4, {}, ours, { ...needs, failures: [] }).loggers).toEqual([])
})

test('the library of commands is added once', () => {
  const library = '/usr/lib/kea/hooks/libdhcp_lease_cmds.so'
  const asked = { ...needs, hook: library }
  const merged = withOurs(6, theirs, ours, asked)
  expect(merged['hooks-libraries']).toEqual([{ library: '/lib/other.so' }, { library }])
  expect(withOurs(6, merged, ours, asked)['hooks-libraries']).toHaveLength(2)
})

test('what Kea quotes holds no password', () => {
  const quoted = `refused: ${JSON.stringify({ a: 1, password: 'se"cret\\' })} { "password": "x" }`
  expect(withoutSecrets(quoted)).toBe('refused: {"a":1,"password":"*"} { "password": "*" }')
})
