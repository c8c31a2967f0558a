import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addressBits, formatAddress, type IpVersion, parseAddress } from '../../ip/address.ts'
import { formatPrefix, type Prefix, prefixHolds, prefixRange } from '../../ip/prefix.ts'
import { type BlockShape, canBeGateway, compareExtent, excludedRanges, prefixOf } from './rules.ts'

const prefix = fc.constantFrom<IpVersion>(4, 6).chain(version => {
  const bits = addressBits(version)
  const part = fc.record({
    length: fc.nat(bits),
    value: fc.bigInt(0n, 2n ** BigInt(bits) - 1n),
  })
  return part.map(({ length, value }): Prefix => {
    const host = 2n ** BigInt(bits - length)
    return { version, first: value - (value % host), length }
  })
})

/** A block of any size, with a gateway near one of its ends, outside it too, or without one. */
const shape = fc
  .record({ prefix, near: fc.option(fc.integer({ min: -3, max: 3 })), allocate: fc.boolean() })
  .map(({ prefix: block, near, allocate }): BlockShape => {
    const { first, last } = prefixRange(block)
    const place = (near ?? 0) < 0 ? last + 1n + BigInt(near ?? 0) : first + BigInt(near ?? 0)
    const value = BigInt.asUintN(addressBits(block.version), place)
    return {
      cidr: formatPrefix(block),
      gateway_ip: near === null ? null : formatAddress({ version: block.version, value }),
      allocate_network_address: allocate,
    }
  })

const block = (cidr: string, gateway_ip: string | null = null, allocate = false): BlockShape => ({
  cidr,
  gateway_ip,
  allocate_network_address: allocate,
})

/** The addresses that are kept back, written out. */
function excluded(of: BlockShape): string[] {
  const { version } = prefixOf(of)
  return excludedRanges(of).flatMap(({ first, last }) => {
    const size = Number(last - first) + 1
    return Array.from({ length: size }, (_, n) =>
      formatAddress({ version, value: first + BigInt(n) }),
    )
  })
}

describe('excludedRanges', () => {
  test.each([
    [block('192.0.2.0/24'), ['192.0.2.0', '192.0.2.255']],
    [block('192.0.2.0/24', null, true), ['192.0.2.255']],
    [block('192.0.2.0/24', '192.0.2.1'), ['192.0.2.0', '192.0.2.1', '192.0.2.255']],
    [block('192.0.2.0/24', '198.51.100.1'), ['192.0.2.0', '192.0.2.255']],
    [block('192.0.2.4/30'), ['192.0.2.4', '192.0.2.7']],
    [block('192.0.2.4/31'), []],
    [block('192.0.2.4/32'), []],
    [block('0.0.0.0/0'), ['0.0.0.0', '255.255.255.255']],
    [block('2001:db8::/64'), ['2001:db8::']],
    [block('2001:db8::/64', 'fe80::1'), ['2001:db8::']],
    [block('2001:db8::/64', '2001:db8::1', true), ['2001:db8::1']],
    [block('2001:db8::/63'), []],
    [block('2001:db8::/126'), ['2001:db8::']],
    [block('2001:db8::/127'), []],
    [block('::/0'), []],
  ])('%j keeps back %j', (of, expected) => {
    expect(excluded(of)).toEqual(expected)
  })
})

describe('canBeGateway', () => {
  test.each([
    [block('192.0.2.0/24'), '192.0.2.1', true],
    [block('192.0.2.0/24'), '192.0.2.0', false],
    [block('192.0.2.0/24', null, true), '192.0.2.0', true],
    [block('192.0.2.0/24'), '192.0.2.255', false],
    [block('192.0.2.0/24'), '192.0.3.1', false],
    [block('192.0.2.0/24'), 'fe80::1', false],
    [block('192.0.2.0/31'), '192.0.2.0', true],
    [block('192.0.2.0/32'), '192.0.2.0', true],
    [block('2001:db8::/64'), '2001:db8::1', true],
    [block('2001:db8::/64'), '2001:db8::', false],
    [block('2001:db8::/127'), '2001:db8::', true],
    [block('2001:db8::/64'), 'fe80::1', true],
    [block('2001:db8::/64'), 'febf:ffff::1', true],
    [block('2001:db8::/64'), 'fec0::1', false],
    [block('2001:db8::/64'), '192.0.2.1', false],
  ])('of %j: %s, %s', (of, gateway, expected) => {
    const address = parseAddress(gateway)
    expect(address && canBeGateway(of, address)).toBe(expected)
  })

  test('a gateway inside a block is one more address that is kept back', () => {
    fc.assert(
      fc.property(shape, of => {
        const gateway = of.gateway_ip === null ? null : parseAddress(of.gateway_ip)
        fc.pre(gateway !== null && canBeGateway(of, gateway))
        if (!gateway || !prefixHolds(prefixOf(of), gateway)) return
        const without = excluded({ ...of, gateway_ip: null })
        expect(new Set(excluded(of))).toEqual(new Set([...without, of.gateway_ip]))
        expect(without).not.toContain(of.gateway_ip)
      }),
    )
  })
})

test('a block grows into what contains it, shrinks into what it contains, and else would move', () => {
  fc.assert(
    fc.property(prefix, prefix, (a, b) => {
      const mirrored = { same: 'same', grow: 'shrink', shrink: 'grow', move: 'move' }
      expect(compareExtent(b, a)).toBe(mirrored[compareExtent(a, b)])
      const inB = { ...b, length: addressBits(b.version) }
      expect(compareExtent(b, inB)).toBe(b.length === inB.length ? 'same' : 'shrink')
      if (a.version !== b.version) expect(compareExtent(a, b)).toBe('move')
    }),
  )
})
