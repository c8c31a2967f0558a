import { expect, test } from 'vitest'
import { createLeaseBook, isOf } from './lease-book.ts'
import { createLeaseReader, type LeaseRow } from './lease-file.ts'

const header4 =
  'address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context'
const line4 = '10.0.0.50,02:00:00:00:00:01,01:02:03,3600,1800003600,7,0,0,vm-1.,0,'

test('a row of DHCPv4 is read', () => {
  const read = createLeaseReader(4)
  expect(read(header4)).toBeNull()
  expect(read(line4)).toEqual({
    subnet_id: 7,
    address: '10.0.0.50',
    prefix_length: null,
    mac_address: '02:00:00:00:00:01',
    client_id: '010203',
    duid: null,
    iaid: null,
    host_name: 'vm-1',
    relay: null,
    state: 'bound',
    at: 1_800_000_000_000,
    ends_at: 1_800_003_600_000,
  })
  expect(read(line4.replace('3600,1800003600', '4294967295,6094967295'))).toMatchObject({
    at: 1_800_000_000_000,
    ends_at: null,
  })
  expect(read(line4.replace('3600,', '0,'))?.state).toBe('gone')
  expect(read(line4.replace(',0,$', ''))?.state).toBe('bound')
  expect(read('10.0.0.50,,,600,1800000600,7,0,0,,1,')).toMatchObject({ state: 'declined' })
  expect(read('10.0.0.50,,,600,1800000600,7,0,0,,2,')).toMatchObject({ state: 'gone' })
  expect(read('nonsense')).toBeNull()
})

test('the columns are those that the file names', () => {
  const read = createLeaseReader(4)
  read('address,state,subnet_id,expire,valid_lifetime,hwaddr')
  expect(read('10.0.0.50,0,7,1800003600,3600,02:00:00:00:00:01')).toMatchObject({
    subnet_id: 7,
    mac_address: '02:00:00:00:00:01',
    host_name: null,
  })
})

test('what a relay said is read, and nothing that is cut off', () => {
  const read = createLeaseReader(4)
  const context = (hex: string) => `${line4}{ "ISC": { "relay-agent-info": "0x${hex}" } }`
  expect(read(context('0104666f757202020607'))?.relay).toEqual({
    address: null,
    circuit_id: Buffer.from('four').toString('hex'),
    remote_id: '0607',
  })
  expect(read(context('0109666f7572'))?.relay).toMatchObject({ circuit_id: null })
  expect(read(`${line4}{ broken`)?.relay).toBeNull()
})

test('a row of DHCPv6 is read, with its relay and its prefix', () => {
  const read = createLeaseReader(6)
  const relays = JSON.stringify({
    ISC: { relays: [{ link: '2001:DB8::1', options: '0x001200026162', hop: 0, peer: 'fe80::1' }] },
  })
  const line = (type: number) =>
    `fd00:0:0:1::,00:03:00:01:aa,3600,1800003600,7,2250,${type},4294967295,64,0,0,vm&#x2c1,,0,${relays.replaceAll(',', '&#x2c')},,`
  expect(read(line(2))).toMatchObject({
    address: 'fd00:0:0:1::',
    prefix_length: 64,
    duid: '00030001aa',
    iaid: 4_294_967_295,
    mac_address: null,
    host_name: 'vm,1',
    relay: { address: '2001:db8::1', circuit_id: '6162', remote_id: null },
  })
  expect(read(line(0))?.prefix_length).toBeNull()
})

const row = (more: Partial<LeaseRow>): LeaseRow => ({
  ...(createLeaseReader(4)(line4) as LeaseRow),
  ...more,
})
const now = 1_800_000_001_000

test('what a machine gives back is told from what has expired, and from what was taken', () => {
  const gone = row({ state: 'gone', mac_address: null, client_id: null })
  const book = createLeaseBook()
  expect(book.take(row({}), now).type).toBe('bound')
  expect(book.take(gone, now)).toMatchObject({
    type: 'released',
    before: { mac_address: '02:00:00:00:00:01' },
  })
  expect(book.take(gone, now).type).toBe('nothing')
  book.take(row({}), now)
  expect(book.take(gone, now + 4_000_000).type).toBe('nothing')
  book.take(row({}), now)
  book.end(7, '10.0.0.50')
  expect(book.take(gone, now).type).toBe('nothing')
})

test('who declined is remembered, since Kea forgets it', () => {
  const declined = row({ state: 'declined', mac_address: null, client_id: null })
  const book = createLeaseBook()
  expect(book.take(declined, now).type).toBe('nothing')
  book.take(row({}), now)
  const before = { mac_address: '02:00:00:00:00:01', is_declined: false }
  expect(book.take(declined, now)).toMatchObject({ type: 'declined', before })
  expect(book.find(7, '10.0.0.50')).toMatchObject({ ...before, is_declined: true })
  // Kea writes it again when it begins a new file.
  expect(book.take(declined, now).type).toBe('nothing')
})

test('a lease is of a host by any of its names', () => {
  const held = { mac_address: '02:00:00:00:00:01', client_id: null, duid: null }
  const nobody = { mac_address: null, client_id: null, duid: null }
  expect(isOf(held, { ...held, client_id: '01' })).toBe(true)
  expect(isOf({ ...held, client_id: '01' }, { ...nobody, client_id: '01' })).toBe(true)
  expect(isOf(nobody, nobody)).toBe(false)
})
