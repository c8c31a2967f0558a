import { describe, expect, test } from 'vitest'
import { numberOf } from '../../../test/helpers/dhcp4-packets.ts'
import {
  addressOption,
  askedWith,
  macs,
  messages,
  option,
  replied,
  shown,
  worldOf,
} from '../../../test/helpers/dhcp4-world.ts'
import { readSubOptions } from './relay-information.ts'

const world = worldOf()
const { discover, request } = messages
const hexOf = (address: string) => addressOption(0, address).slice(4)
const circuit = option(1, '0004')
const selection = (address: string) => option(5, hexOf(address))
const override = (address: string) => option(11, hexOf(address))
const relayed = (...parts: string[]) => option(82, parts.join(''))
const c = { mac: macs.c, giaddr: '10.2.0.1', options: discover }

describe('a relay', () => {
  test('gets the answer, with what it added last and as it was', () => {
    const information = circuit + option(2, 'beef') + option(9, '')
    const options = relayed(information) + discover + option(55, '0103')
    const given = replied(askedWith(world, { ...c, options }))
    expect(given).toMatchObject({ type: 2, yiaddr: '10.2.0.7', to: '10.2.0.1:67' })
    expect(given.codes.at(-1)).toBe(82)
    expect(given.options.get(82)).toBe(information)
    expect(given.message.giaddr).toBe(numberOf('10.2.0.1'))
  })

  test('is answered where it said that it listens (RFC 8357)', () => {
    const origin = { source: { address: numberOf('10.2.0.1'), port: 4067 } }
    const to = (information: string) => {
      const options = discover + relayed(information)
      return replied(askedWith(world, { ...c, options }, { origin })).to
    }
    expect(to(circuit + option(19, ''))).toBe('10.2.0.1:4067')
    expect(to(circuit)).toBe('10.2.0.1:67')
  })

  test('broadcasts refusals (RFC 2131 §4.3.2)', () => {
    const options = request + addressOption(50, '192.0.2.1') + relayed(circuit)
    const given = replied(askedWith(world, { ...c, options }))
    expect(given).toMatchObject({ type: 6, to: '10.2.0.1:67', message: { flags: 0x8000 } })
    expect(given.codes).toEqual([53, 54, 56, 82])
  })

  test('says by its address in which subnet a host with several is', () => {
    const at = (giaddr: string, options: string = discover) =>
      replied(askedWith(world, { ...c, giaddr, options })).yiaddr
    expect(at('10.1.0.1')).toBe('10.1.0.7')
    expect(at('10.2.0.1')).toBe('10.2.0.7')
    expect(at('10.2.0.1', discover + addressOption(50, '10.1.0.7'))).toBe('10.1.0.7')
  })

  test('selects a link that it has no address on (RFC 3527)', () => {
    const at = (giaddr: string, information: string) =>
      shown(askedWith(world, { ...c, giaddr, options: discover + relayed(information) }))
    const found = at('192.168.9.9', selection('10.2.0.0'))
    expect(found).toMatchObject({ yiaddr: '10.2.0.7', to: '192.168.9.9:67' })
    expect(at('192.168.9.9', circuit)).toEqual({ nothing: 'unknown link' })
    expect(at('10.2.0.1', selection('10.9.0.0'))).toEqual({ nothing: 'unknown link' })
    expect(at('10.2.0.1', option(5, '0a02'))).toEqual({ nothing: 'unknown link' })
    expect(at('10.2.0.1', selection('10.0.0.0'))).toEqual({ nothing: 'unknown client' })
  })

  test('or a client that stands for others, selects a subnet (RFC 3011)', () => {
    const selecting = addressOption(118, '10.2.0.0')
    const found = replied(
      askedWith(world, { ...c, giaddr: '192.168.9.9', options: discover + selecting }),
    )
    expect(found).toMatchObject({ yiaddr: '10.2.0.7', to: '192.168.9.9:67' })
    expect(found.options.get(118)).toBe('0a020000')
    const overruled = relayed(selection('10.2.0.0')) + addressOption(118, '10.9.0.0')
    const other = { ...c, giaddr: '192.168.9.9', options: discover + overruled }
    expect(shown(askedWith(world, other))).toMatchObject({ yiaddr: '10.2.0.7' })
    const near = replied(askedWith(world, { options: discover + selecting }))
    expect(near.yiaddr).toBe('10.0.0.5')
    expect(near.options.has(118)).toBe(false)
  })

  test('is known by its circuits, where links have the same addresses', () => {
    const at = (giaddr: string, circuit_id: string) =>
      shown(askedWith(world, { ...c, giaddr, options: discover + relayed(option(1, circuit_id)) }))
    expect(at('172.16.0.1', 'c0ffee')).toMatchObject({ type: 2, to: '172.16.0.1:67' })
    expect(at('172.16.0.1', 'c0ffef')).toEqual({ nothing: 'unknown link' })
    expect(at('172.16.0.2', 'c0ffee')).toEqual({ nothing: 'unknown link' })
  })

  test('may stand for the server (RFC 5107)', () => {
    const information = relayed(override('10.2.0.1'))
    const ask = (options: string) => askedWith(world, { ...c, options: options + information })
    expect(replied(ask(discover)).options.get(54)).toBe('0a020001')
    const wanted = request + addressOption(50, '10.2.0.7')
    const taken = replied(ask(wanted + addressOption(54, '10.2.0.1')))
    expect(taken).toMatchObject({ type: 5, yiaddr: '10.2.0.7' })
    expect(taken.options.get(54)).toBe('0a020001')
    const elsewhere = ask(wanted + addressOption(54, '10.2.0.3'))
    expect(shown(elsewhere)).toEqual({ nothing: 'for another server' })
  })

  test('is nobody who has no address: a client selects nothing', () => {
    const information = selection('10.2.0.0') + override('10.0.0.99') + option(19, '')
    const near = replied(askedWith(world, { options: discover + relayed(information) }))
    expect(near).toMatchObject({ yiaddr: '10.0.0.5', to: '255.255.255.255:68' })
    expect(near.options.get(54)).toBe('0a000002')
    expect(near.options.get(82)).toBe(information)
    const far = askedWith(world, {
      ...c,
      giaddr: '0.0.0.0',
      options: discover + relayed(information),
    })
    expect(shown(far)).toEqual({ nothing: 'unknown client' })
  })
})

test('nobody speaks for hosts of other links where relays and routers have no place', () => {
  const origin = { takes_remote: false, is_unicast: true }
  const saidOf = (parts: Parameters<typeof askedWith>[1]) =>
    shown(askedWith(world, { mac: macs.c, ...parts }, { origin }))
  const own = addressOption(54, '10.0.0.2') + addressOption(50, '10.2.0.7')
  expect(saidOf(c)).toEqual({ nothing: 'unknown link' })
  expect(saidOf({ options: messages.decline + own, giaddr: '10.2.0.1' })).toEqual({
    nothing: 'unknown link',
  })
  for (const options of [messages.decline + own, messages.release + own]) {
    expect(saidOf({ options, ciaddr: '10.2.0.7' })).toEqual({ nothing: 'unknown client' })
    const taken = askedWith(
      world,
      { mac: macs.c, options, ciaddr: '10.2.0.7' },
      {
        origin: { is_unicast: true },
      },
    )
    expect(taken).toMatchObject({ effects: [{ link: { id: 'far' } }] })
  }
})

test('sub-options are the first of each, and none if one is cut off', () => {
  const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, 'hex'))
  expect([...(readSubOptions(bytes('010201020500010103')) ?? [])]).toEqual([
    [1, bytes('0102')],
    [5, bytes('')],
  ])
  expect([...(readSubOptions(bytes('')) ?? [1])]).toEqual([])
  for (const hex of ['01', '0103ffff', '010101050400'])
    expect(readSubOptions(bytes(hex))).toBeNull()
})
