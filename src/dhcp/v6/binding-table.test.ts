import { describe, expect, test } from 'vitest'
import { packet } from '../../../test/helpers/dhcp6.ts'
import {
  automaticDuid,
  bytesOf,
  configured,
  hostOf,
  linkTable,
  macs,
  net,
  now,
} from '../../../test/helpers/dhcp6-world.ts'
import { addressKey, prefixKey } from './associations.ts'
import type { BindingTable } from './binding-table.ts'
import { leaseOf, prepareHost, prepareOptions } from './bindings.ts'
import { shareLeases } from './shares.ts'

const duid = packet(automaticDuid)

describe('a link', () => {
  test('finds its hosts by what identifies them', () => {
    const { link } = linkTable()
    expect(link.hostOfMac(macs.one)?.id).toBe('one')
    expect(link.hostOfMac(macs.none)).toBeUndefined()
    expect(link.hostOfClient(duid, 5)?.id).toBe('auto')
    expect(link.hostOfClient(duid, 6)).toBeUndefined()
    expect(link.hostOfClient(duid, null)?.id).toBe('auto')
    expect(link.hostOfClient(packet(`${automaticDuid}00`), 5)).toBeUndefined()
  })

  test('forgets hosts, and what they were found by before', () => {
    const { link } = linkTable()
    link.setHost(hostOf('one', '2001:db8::1'), { mac: macs.none })
    expect(link.hostOfMac(macs.one)).toBeUndefined()
    expect(link.hostOfMac(macs.none)?.addresses).toHaveLength(1)
    link.removeHost('one')
    link.removeHost('one')
    link.removeHost('auto')
    expect(link.hostOfMac(macs.none)).toBeUndefined()
    expect(link.hostOfClient(duid, 5)).toBeUndefined()
    expect(link.hostOfMac(macs.two)?.id).toBe('two')
  })

  test('finds who is known by DUID alone for all associations, and the others before', () => {
    const { link } = linkTable()
    link.setHost(hostOf('any'), { clients: [{ duid, iaid: null }] })
    const idOf = (iaid: number | null) => link.hostOfClient(duid, iaid)?.id
    expect([5, 6, null].map(idOf)).toEqual(['auto', 'any', 'auto'])
    link.removeHost('auto')
    expect([5, 6, null].map(idOf)).toEqual(['any', 'any', 'any'])
    link.removeHost('any')
    expect([5, 6, null].map(idOf)).toEqual([undefined, undefined, undefined])
  })

  test('finds whom somebody told of before who came by itself', () => {
    const { link } = linkTable()
    link.setHost({ ...hostOf('came'), isAutomatic: true }, { mac: macs.one })
    expect(link.hostOfMac(macs.one)?.id).toBe('one')
  })

  test('keeps an identifier for the host that took it over', () => {
    const { link } = linkTable()
    link.setHost(hostOf('heir'), { mac: macs.one })
    link.removeHost('one')
    expect(link.hostOfMac(macs.one)?.id).toBe('heir')
    link.quarantine('one', '2001:db8::a', now)
    expect(link.hostOfMac(macs.one)?.id).toBe('heir')
  })

  test('withholds one address of a host, however that is found', () => {
    const { link } = linkTable()
    const clients = [{ duid, iaid: 9 }]
    link.setHost(hostOf('two', '2001:db8::b1', '2001:db8::b2'), { mac: macs.two, clients })
    link.quarantine('two', '2001:db8::b2', now + 1)
    for (const host of [link.hostOfMac(macs.two), link.hostOfClient(duid, 9)]) {
      expect(host?.addresses.map(({ withheldUntil }) => withheldUntil)).toEqual([0, now + 1])
    }
    link.removeHost('two')
    expect(link.hostOfMac(macs.two)).toBeUndefined()
  })

  test.each([
    ['2001:db8::', true],
    ['2001:db8::ffff:ffff:ffff:ffff', true],
    ['2001:db8:0:1::', false],
    ['::', false],
  ])('knows whether %s is on it: %s', (text, expected) => {
    expect(linkTable().link.isOnLink(bytesOf(text))).toBe(expected)
    expect(linkTable({ prefixes: [] }).link.isOnLink(bytesOf(text))).toBeNull()
  })
})

describe('the links', () => {
  const other = { ...net, id: 'other', interfaces: ['tap1'], relays: [] }
  const relays = [{ address: bytesOf('fe80::6'), interfaceId: Buffer.from('port-7') }]
  const byRelay = (table: BindingTable, text: string, interfaceId?: Buffer, at = '::') =>
    table.linkOfRelay({ address: bytesOf(text), linkAddress: bytesOf(at), interfaceId })?.id
  const idOf = (table: BindingTable, text: string) => table.linkOfAddress(bytesOf(text))?.id

  test('are found by interface, by relay and its Interface-Id, and by address', () => {
    const id = Buffer.from('port-7')
    const { bindings } = linkTable({ relays })
    expect(bindings.linkOfInterface('tap0')?.id).toBe('net')
    expect(bindings.linkOfInterface('tap')).toBeUndefined()
    expect(byRelay(bindings, 'fe80::6', id)).toBe('net')
    expect(byRelay(bindings, 'fe80::7', id)).toBeUndefined()
    expect(byRelay(bindings, 'fe80::6', Buffer.alloc(0))).toBeUndefined()
    expect(idOf(bindings, '2001:db8::77')).toBeUndefined()
    bindings.setLink({ ...net, relays: [] })
    expect(idOf(bindings, '2001:db8::77')).toBe('net')
    expect(idOf(bindings, '2001:db9::')).toBeUndefined()
  })

  test('are found by relays that are theirs for all interfaces, too', () => {
    const { bindings } = linkTable({ relays })
    const ofAll = [{ address: bytesOf('fe80::6'), interfaceId: null }]
    const second = { ...other, relays: ofAll, prefixes: ['2001:db8:2::/64'] }
    bindings.setLink(second)
    expect(byRelay(bindings, 'fe80::6', Buffer.from('port-7'))).toBe('net')
    expect(byRelay(bindings, 'fe80::6', Buffer.from('port-8'))).toBe('other')
    expect(byRelay(bindings, 'fe80::6')).toBe('other')
    expect(byRelay(bindings, 'fe80::9', undefined, 'fe80::6')).toBe('other')
    bindings.setLink({ ...second, id: 'third', prefixes: ['2001:db8:3::/64'] })
    expect(byRelay(bindings, 'fe80::6')).toBeUndefined()
    expect(byRelay(bindings, 'fe80::6', undefined, '2001:db8:3::1')).toBe('third')
  })

  test('are not found by what several have', () => {
    const { bindings } = linkTable()
    bindings.setLink({ ...other, prefixes: ['2001:db8::/48', '2001:db9::/64'] })
    expect(idOf(bindings, '2001:db8::77')).toBeUndefined()
    expect(idOf(bindings, '2001:db8:0:1::77')).toBe('other')
    bindings.setLink({ ...other, interfaces: ['tap0'], prefixes: ['2001:db9::/64'] })
    expect(idOf(bindings, '2001:db8::77')).toBe('net')
    expect(idOf(bindings, '2001:db8:0:1::77')).toBeUndefined()
    expect(bindings.linkOfInterface('tap0')).toBeUndefined()
    expect(bindings.linkOfInterface('tap1')).toBeUndefined()
  })

  test('are gone when they are removed', () => {
    const { bindings } = linkTable()
    bindings.setLink({ ...other, prefixes: ['2001:db8:1::/64'] })
    bindings.removeLink('net')
    bindings.removeLink('net')
    expect(bindings.link('net')).toBeUndefined()
    expect(bindings.linkOfInterface('tap0')).toBeUndefined()
    expect(byRelay(bindings, 'fe80::6', Buffer.from('port-7'))).toBeUndefined()
    expect(idOf(bindings, '2001:db8::77')).toBeUndefined()
    expect(idOf(bindings, '2001:db8:1::77')).toBe('other')
    expect(bindings.link('other')?.id).toBe('other')
  })
})

describe('what a host is told', () => {
  test('is named by bytes', () => {
    const bytes = bytesOf('2001:db8::a')
    expect(leaseOf({ text: '2001:db8::a' }).key).toBe(addressKey(bytes))
    expect(leaseOf({ text: '2001:db8:a::/56', endsAt: 7, allocationId: 'id' })).toEqual({
      allocationId: 'id',
      text: '2001:db8:a::/56',
      key: prefixKey(bytesOf('2001:db8:a::'), 56),
      endsAt: 7,
      withheldUntil: 0,
    })
  })

  test.each(['10.0.0.1', '10.0.0.0/8', 'x', 'x/8', '2001:db8::/129'])('is not %s', text => {
    expect(() => leaseOf({ text })).toThrow(RangeError)
  })

  test.each([
    [3601, 3600],
    [-1, 3600],
    [0.5, 3600],
    [3600, 2 ** 32],
    [Number.NaN, 3600],
  ])('is not told with lifetimes of %d and %d seconds', (preferredLifetime, validLifetime) => {
    const facts = { ...hostOf('x'), leases: [], preferredLifetime, validLifetime }
    expect(() => prepareHost(facts)).toThrow(RangeError)
  })

  test('are its addresses and prefixes, in their order', () => {
    const host = hostOf('x', '2001:db8::2', '2001:db8:2::/56', '2001:db8::1')
    expect(host.addresses.map(({ text }) => text)).toEqual(['2001:db8::2', '2001:db8::1'])
    expect(host.prefixes.map(({ text }) => text)).toEqual(['2001:db8:2::/56'])
  })

  test('are the options of its first subnet that has them, but for unicast', () => {
    const first = [configured(12, '2001:db8::1'), configured(23, ['2001:db8::1'])]
    const second = [configured(23, ['2001:db8::2']), configured(31, ['2001:db8::3'])]
    const prepared = prepareOptions([first, second])
    expect([...prepared.keys()]).toEqual([23, 31])
    expect(prepared.get(23)).toEqual([{ code: 23, data: bytesOf('2001:db8::1') }])
  })
})

test('no lease is shared out twice, and none is left over', () => {
  const host = hostOf('', '2001:db8::1', '2001:db8::2', '2001:db8::3', '2001:db8:1::/64')
  const [, second, third] = host.addresses.map(({ key }) => key)
  const named = [[], [third ?? '', third ?? ''], [third ?? '', second ?? '']]
  const associations = named.map((keys, iaid) => ({ code: 3, iaid, named: keys }))
  const shares = shareLeases(
    associations,
    associations.map(() => host),
    now,
  )
  expect(shares.map(leases => leases.map(({ text }) => text))).toEqual([
    ['2001:db8::1'],
    ['2001:db8::3'],
    ['2001:db8::2'],
  ])
})
