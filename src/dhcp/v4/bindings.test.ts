import { describe, expect, test } from 'vitest'
import { numberOf } from '../../../test/helpers/dhcp4-packets.ts'
import { linkOf, reservationOf, subnetOf } from '../../../test/helpers/dhcp4-world.ts'
import { createBindings, type Host, subnetHolds } from './bindings.ts'

const circuit = (hex: string) => Uint8Array.from(Buffer.from(hex, 'hex'))
const near = subnetOf('10.0.0.0/24')
const host = (id: string, more: Partial<Host> = {}): Host => ({
  id,
  mac: null,
  client_id: null,
  is_automatic: false,
  host_name: null,
  reservations: [reservationOf(near, '10.0.0.5')],
  ...more,
})

test.each([
  ['10.0.0.0/24', '10.0.0.0', true],
  ['10.0.0.0/24', '10.0.0.255', true],
  ['10.0.0.0/24', '10.0.1.0', false],
  ['0.0.0.0/0', '255.255.255.255', true],
  ['255.255.255.255/32', '255.255.255.255', true],
  ['192.0.2.7/32', '192.0.2.6', false],
  ['128.0.0.0/1', '192.0.2.6', true],
  ['128.0.0.0/1', '127.255.255.255', false],
])('%s holds %s: %s', (cidr, address, holds) => {
  expect(subnetHolds(subnetOf(cidr), numberOf(address))).toBe(holds)
})

describe('a link', () => {
  const idAt = (bindings: ReturnType<typeof createBindings>, address: string) =>
    bindings.linkOfAddress(numberOf(address))?.id ?? null

  test('is found by its addresses, the nearest first, if no other has them', () => {
    const bindings = createBindings()
    bindings.putLink(linkOf('wide', [subnetOf('10.0.0.0/8')]))
    bindings.putLink(linkOf('near', [near, subnetOf('10.0.2.0/24')]))
    expect(idAt(bindings, '10.0.0.9')).toBe('near')
    expect(idAt(bindings, '10.0.2.9')).toBe('near')
    expect(idAt(bindings, '10.0.1.9')).toBe('wide')
    expect(idAt(bindings, '11.0.1.9')).toBeNull()
    bindings.putLink(linkOf('same', [near]))
    expect(idAt(bindings, '10.0.0.9')).toBeNull()
    bindings.dropLink('near')
    expect(idAt(bindings, '10.0.0.9')).toBe('same')
    expect(idAt(bindings, '10.0.2.9')).toBe('wide')
    bindings.putLink(linkOf('same', [subnetOf('10.0.7.0/24')]))
    expect(idAt(bindings, '10.0.0.9')).toBe('wide')
    expect(idAt(bindings, '10.0.7.9')).toBe('same')
  })

  test('is found by its relays and their circuits', () => {
    const bindings = createBindings()
    const idOf = (giaddr: number, hex: string | null, address = '10.0.0.1') =>
      bindings.linkOfRelay({
        giaddr,
        circuit: hex === null ? undefined : circuit(hex),
        address: numberOf(address),
      })?.id ?? null
    const relaysOf = (...ids: (string | null)[]) => ({
      relays: ids.map(circuit_id => ({ giaddr: 7, circuit_id })),
    })
    bindings.putLink(linkOf('any', [near]))
    expect(idOf(7, 'cafe')).toBe('any')
    bindings.putLink(linkOf('one', [near], relaysOf('cafe')))
    expect(idOf(7, 'cafe')).toBe('one')
    expect(idOf(7, 'beef')).toBe('any')
    expect(idOf(8, 'cafe')).toBe('any')
    bindings.putLink(linkOf('two', [subnetOf('10.0.2.0/24')], relaysOf('cafe', null)))
    expect(idOf(7, 'cafe')).toBe('one')
    expect(idOf(7, 'cafe', '10.0.2.1')).toBe('two')
    expect(idOf(7, 'cafe', '10.0.3.1')).toBeNull()
    expect(idOf(7, null)).toBe('two')
    bindings.dropLink('one')
    expect(idOf(7, 'cafe')).toBe('two')
    bindings.putLink(linkOf('two', []))
    expect(idOf(7, 'cafe')).toBe('any')
  })

  test('keeps its hosts when it changes, and takes them along when it goes', () => {
    const bindings = createBindings()
    const link = linkOf('one', [near])
    bindings.putHost('one', host('early', { mac: 5 }))
    bindings.putLink(link)
    expect(bindings.hostOf(link, 5, undefined)).toBeNull()
    bindings.putHost('one', host('a', { mac: 5 }))
    bindings.putLink(linkOf('one', [near], { mtu: 1400 }))
    expect(bindings.link('one')?.mtu).toBe(1400)
    expect(bindings.hostOf(link, 5, undefined)?.id).toBe('a')
    bindings.dropLink('one')
    expect(bindings.link('one')).toBeNull()
    expect(bindings.hostOf(link, 5, undefined)).toBeNull()
    bindings.putLink(link)
    expect(bindings.hostOf(link, 5, undefined)).toBeNull()
  })
})

describe('a host', () => {
  const link = linkOf('one', [near])
  const opened = () => {
    const bindings = createBindings()
    bindings.putLink(link)
    return bindings
  }

  test('is found by its MAC, and by its identifier where the MAC is unknown', () => {
    const bindings = opened()
    bindings.putHost('one', host('a', { mac: 5 }))
    bindings.putHost('one', host('b', { client_id: 'ff01' }))
    expect(bindings.hostOf(link, 5, circuit('ff01'))?.id).toBe('a')
    expect(bindings.hostOf(link, 6, circuit('ff01'))?.id).toBe('b')
    expect(bindings.hostOf(link, null, circuit('ff01'))?.id).toBe('b')
    expect(bindings.hostOf(link, 6, circuit('ff02'))).toBeNull()
    expect(bindings.hostOf(link, null, undefined)).toBeNull()
    expect(bindings.hostOf(linkOf('other', []), 5, undefined)).toBeNull()
  })

  test('that changes is no longer found by what it was', () => {
    const bindings = opened()
    bindings.putHost('one', host('a', { mac: 5, client_id: 'aa' }))
    bindings.putHost('one', host('a', { mac: 6 }))
    expect(bindings.hostOf(link, 5, circuit('aa'))).toBeNull()
    expect(bindings.hostOf(link, 6, undefined)?.id).toBe('a')
    bindings.dropHost('one', 'a')
    bindings.dropHost('one', 'a')
    expect(bindings.hostOf(link, 6, undefined)).toBeNull()
  })

  test('that somebody told of comes before one that came by itself', () => {
    const bindings = opened()
    bindings.putHost('one', host('told', { mac: 5 }))
    bindings.putHost('one', host('came', { mac: 5, is_automatic: true }))
    expect(bindings.hostOf(link, 5, undefined)?.id).toBe('told')
    bindings.dropHost('one', 'came')
    expect(bindings.hostOf(link, 5, undefined)?.id).toBe('told')
  })

  test('that takes over a MAC keeps it when the other goes', () => {
    const bindings = opened()
    bindings.putHost('one', host('old', { mac: 5, client_id: 'aa' }))
    bindings.putHost('one', host('new', { mac: 5, client_id: 'aa' }))
    bindings.dropHost('one', 'old')
    expect(bindings.hostOf(link, 5, undefined)?.id).toBe('new')
    expect(bindings.hostOf(link, null, circuit('aa'))?.id).toBe('new')
  })
})
