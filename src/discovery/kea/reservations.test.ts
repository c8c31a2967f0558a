import { expect, test } from 'vitest'
import { hostOf, macOf, networkOf, subnetOf } from '../../../test/helpers/kea-world.ts'
import { createReservations } from './reservations.ts'

const network = networkOf(1, [subnetOf(1, '10.0.0.0/24')])
const settings = { ids: { of: () => 7 }, lease_seconds: 3600, is_direct: true, now: Date.now() }

function world() {
  const reservations = createReservations()
  const put = (host: ReturnType<typeof hostOf>) => reservations.put(network, host, settings)
  const wanted = () => [...reservations.wanted.values()].map(({ columns }) => columns.ipv4)
  return { reservations, put, wanted }
}

test('what changes is told once, with the addresses that it concerns', () => {
  const { reservations, put } = world()
  put(hostOf(1, [[1, '10.0.0.11']]))
  const [digest = ''] = reservations.wanted.keys()
  const first = reservations.takeChanges()
  expect([...first.digests]).toEqual([digest])
  expect(first.freed).toEqual([{ subnet_id: 7, address: '10.0.0.11' }])
  put(hostOf(1, [[1, '10.0.0.11']]))
  expect(reservations.takeChanges().digests.size).toBe(0)
  put(hostOf(1, [[1, '10.0.0.12']]))
  const { digests, freed } = reservations.takeChanges()
  expect(digests.size).toBe(2)
  expect(freed.map(({ address }) => address)).toEqual(['10.0.0.11', '10.0.0.12'])
})

test('an address is of who has it now, in whatever order it moves', () => {
  for (const isFirst of [true, false]) {
    const { reservations, put } = world()
    put(hostOf(1, [[1, '10.0.0.11']]))
    const moves = [
      () => put(hostOf(1, [[1, '10.0.0.12']])),
      () => put(hostOf(2, [[1, '10.0.0.11']])),
    ]
    for (const move of isFirst ? moves : moves.toReversed()) move()
    expect(reservations.holderOf(7, '10.0.0.11')?.host_id).toBe(hostOf(2, []).id)
    reservations.drop(network.id, hostOf(2, []).id)
    expect(reservations.holderOf(7, '10.0.0.11')).toBeNull()
  }
})

test('a name that two hosts have leads to the first, and then to the other', () => {
  const { reservations, put, wanted } = world()
  const names = { mac_address: null, client_id: '01ab' }
  put(hostOf(1, [[1, '10.0.0.11']], names))
  put(hostOf(2, [[1, '10.0.0.12']], names))
  expect(wanted()).toEqual([0x0a00000b])
  reservations.drop(network.id, hostOf(1, []).id)
  expect(wanted()).toEqual([0x0a00000c])
  reservations.dropNetwork(network.id)
  expect(wanted()).toEqual([])
})

test('interfaces are known by their names, also without addresses', () => {
  const { reservations, put } = world()
  const nobody = { mac_address: null, client_id: null, duid: null, iaid: null }
  put(hostOf(1, [], { duid: '0003' }))
  put(hostOf(2, [], { type: 'client' }))
  const known = (names: object) => reservations.knownAs(network.id, { ...nobody, ...names })
  expect(known({ mac_address: macOf(1) })).toBe(hostOf(1, []).id)
  expect(known({ mac_address: macOf(9), duid: '0003' })).toBe(hostOf(1, []).id)
  expect(known({ mac_address: macOf(2) })).toBeNull()
  reservations.drop(network.id, hostOf(1, []).id)
  expect(known({ mac_address: macOf(1) })).toBeNull()
})

test('hosts that change by time are due then', () => {
  const { reservations, put } = world()
  const { now } = settings
  const at = (seconds: number) => new Date(now + seconds * 1000).toISOString()
  put(hostOf(1, [[1, { address: '10.0.0.11', withheld_until: at(5) }]]))
  put(hostOf(2, [[1, { address: '10.0.0.12', withheld_until: at(9) }]]))
  expect(reservations.due(now)).toEqual({ hosts: [], next: now + 5000 })
  const { hosts, next } = reservations.due(now + 5000)
  expect(hosts).toMatchObject([{ host_id: hostOf(1, []).id }])
  expect(next).toBe(now + 9000)
  put(hostOf(2, []))
  expect(reservations.due(now).next).toBe(now + 5000)
})
