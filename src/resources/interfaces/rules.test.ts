import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { IpamError } from '../../errors.ts'
import { isKept, readInterface, replace, type WantedInterface } from './rules.ts'
import type { Interface } from './schema.ts'

const networks = [
  '00000000-0000-7000-8000-00000000000a',
  '00000000-0000-7000-8000-00000000000b',
] as const
const macs = ['52:54:00:00:00:01', '52:54:00:00:00:02', '52:54:00:00:00:03']
const idOf = (n: number) => `00000000-0000-7000-8000-${String(n).padStart(12, '0')}`
const time = '2026-01-01T00:00:00.000000Z'

let given = 0
/** An interface as it would be made of what is wanted. */
function made(wanted: WantedInterface): Interface {
  const addresses = [
    ...wanted.addresses,
    ...wanted.families.map(family => (family === 6 ? `2001:db8::${++given}` : `10.9.0.${++given}`)),
  ]
  return {
    id: wanted.id ?? idOf(100 + ++given),
    device_id: 'vm',
    project_id: 'red',
    network_id: wanted.network_id,
    name: wanted.name,
    tags: [...wanted.tags],
    mac_address: wanted.mac === undefined ? `02:00:00:00:00:${++given}` : wanted.mac,
    mac_range_id: wanted.mac_range_id ?? null,
    client_id: wanted.client_id,
    duid: wanted.duid,
    iaid: wanted.iaid,
    addresses: addresses.map(address => ({
      allocation_id: idOf(1000 + ++given),
      block_id: idOf(1),
      address,
    })),
    generation: 1,
    created_at: time,
    updated_at: time,
  }
}

const wanted: fc.Arbitrary<WantedInterface> = fc.record({
  id: fc.option(fc.integer({ min: 1, max: 4 }).map(idOf), { nil: undefined }),
  network_id: fc.constantFrom(...networks),
  name: fc.constantFrom('', 'eth0', 'eth1'),
  tags: fc.constantFrom([], ['a'], ['a', 'b']),
  mac: fc.option(fc.option(fc.constantFrom(...macs), { nil: null }), { nil: undefined }),
  mac_range_id: fc.constant(undefined),
  client_id: fc.constantFrom(null, '01aa', '01bb'),
  duid: fc.constantFrom(null, '0004aa', '0004bb'),
  iaid: fc.constant(null),
  families: fc.constantFrom<readonly (4 | 6)[]>([], [4], [6], [4, 6]),
  addresses: fc.uniqueArray(fc.constantFrom('10.0.0.5', '10.0.0.6', '2001:db8::5'), {
    maxLength: 2,
  }),
})
/** As the database would have it: no id, and no name of a network, twice. */
const device = fc
  .array(wanted, { maxLength: 5 })
  .map(all => [...new Map(all.map((one, n) => [one.id ?? n, one])).values()])
  .map(all => [...new Map(all.map((one, n) => [one.mac ?? n, one])).values()])
  .map(all => [...new Map(all.map((one, n) => [one.client_id ?? n, one])).values()])
  .map(all => [...new Map(all.map((one, n) => [one.duid ?? n, one])).values()])

describe('replacing the interfaces of a device', () => {
  test('by what is there already changes nothing', () => {
    fc.assert(
      fc.property(device, asked => {
        const { wanted: kept, remove } = replace(asked.map(made), asked)
        expect(remove).toEqual([])
        for (const one of kept) {
          if (!isKept(one)) throw new Error('one was not found')
          expect(one.release).toEqual([])
          expect(one.take).toEqual({ addresses: [], families: [] })
        }
      }),
    )
  })

  test('each one that is there stays once or goes, and none that is wanted is removed', () => {
    fc.assert(
      fc.property(device, device, (before, asked) => {
        const present = before.map(made)
        const { wanted: placed, remove } = replace(present, asked)
        const kept = placed.filter(isKept)
        const ids = [...kept.map(one => one.before.id), ...remove.map(({ id }) => id)]
        expect(ids.toSorted()).toEqual(present.map(({ id }) => id).toSorted())
        expect(placed.map(one => (isKept(one) ? one.wanted : one))).toEqual(asked)
        for (const { before, wanted } of kept) {
          expect(before.network_id).toBe(wanted.network_id)
          if (wanted.mac !== undefined) expect(before.mac_address).toBe(wanted.mac)
          if (wanted.id !== undefined) expect(before.id).toBe(wanted.id)
        }
        // What goes would have served nobody who is made anew.
        const free = asked.filter((_, n) => !isKept(placed[n] as WantedInterface))
        for (const { id, network_id, mac } of free) {
          const fits = remove.some(
            there =>
              (id === undefined || id === there.id) &&
              network_id === there.network_id &&
              (mac === undefined ? there.mac_address !== null : there.mac_address === mac),
          )
          expect(fits).toBe(false)
        }
      }),
    )
  })

  test('an interface keeps of its addresses what is wanted, and has just that in the end', () => {
    fc.assert(
      fc.property(device, device, (before, asked) => {
        for (const one of replace(before.map(made), asked).wanted.filter(isKept)) {
          const released = new Set(one.release)
          const left = one.before.addresses.filter(each => !released.has(each.allocation_id))
          const addresses = [...left.map(({ address }) => address), ...one.take.addresses]
          for (const address of one.wanted.addresses) expect(addresses).toContain(address)
          expect(new Set(addresses).size).toBe(addresses.length)
          const { families, addresses: named } = one.wanted
          expect(addresses.length + one.take.families.length).toBe(families.length + named.length)
          for (const family of families) {
            const others = addresses.filter(address => !named.includes(address))
            const has = others.some(address => address.includes(':') === (family === 6))
            expect(has || one.take.families.includes(family)).toBe(true)
          }
        }
      }),
    )
  })

  test('goes by the id, then the MAC, then the name', () => {
    const [network_id] = networks
    const plain = readInterface({ network_id })
    const present = ['eth0', 'eth1', 'eth2'].map((name, n) =>
      made({ ...plain, name, mac: macs[n] ?? null, id: idOf(n) }),
    )
    const found = (...asked: Partial<WantedInterface>[]) =>
      replace(
        present,
        asked.map(one => ({ ...plain, ...one })),
      ).wanted.map(one => (isKept(one) ? one.before.name : 'new'))
    expect(found({ name: 'eth2' }, { mac: macs[2] }, { id: idOf(0), name: 'eth1' })).toEqual([
      'eth1',
      'eth2',
      'eth0',
    ])
    expect(found({ id: idOf(1), mac: macs[0] })).toEqual(['new'])
    expect(found({ network_id: networks[1] }, { mac: null })).toEqual(['new', 'new'])
    expect(found({ mac_range_id: idOf(7) })).toEqual(['new'])
  })
})

test('an interface is read in its one spelling', () => {
  const [network_id] = networks
  const read = readInterface({
    network_id: network_id.toUpperCase(),
    mac_address: '5254.0000.00AB',
    addresses: ['2001:DB8:0::1'],
  })
  expect(read).toMatchObject({ network_id, mac: '52:54:00:00:00:ab', addresses: ['2001:db8::1'] })
  expect(readInterface({ network_id, mac_address: null }).mac).toBeNull()
  expect(readInterface({ network_id }).mac).toBeUndefined()
  const multicast = () => readInterface({ network_id, mac_address: '01:00:5e:00:00:01' })
  expect(multicast).toThrow(IpamError)
})
