import { randomUUID } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { LeaseReport } from '../../src/dhcp/served.ts'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import type { Lease, WithheldAddress } from '../../src/resources/leases/schema.ts'
import { removeOldLeases } from '../../src/resources/leases/store.ts'
import { removeOldWithheld } from '../../src/resources/leases/withheld-store.ts'
import { expectProblem, expectStatus, networks, useApi } from '../helpers/api.ts'
import { useClock } from '../helpers/clock.ts'
import { createInterface } from '../helpers/interfaces.ts'
import { ofClient, postLeases, report, reportOf } from '../helpers/leases.ts'
import { createMacRange } from '../helpers/macs.ts'
import { readSamples, sumOf } from '../helpers/prometheus.ts'
import { contentOf } from '../helpers/writes.ts'

const api = useApi()
const clock = useClock(api)

const [network_id, otherNetwork] = networks
const anHour = 3600
const mac = '52:54:00:aa:00:01'
let block: Block

beforeEach(async () => {
  await api.createNetworks()
  block = await api.createBlock('10.60.0.0/24', { network_id })
})

/** A time so many seconds after the beginning of the test, by the clock of servers. */
const at = (seconds: number) => new Date(1_800_000_000_000 + seconds * 1000).toISOString()
const micro = (time: string) => time.replace(/Z$/, '000Z')
const leaseOf = (allocation: Allocation, more: Partial<LeaseReport> = {}) =>
  reportOf(allocation, { network_id, started_at: at(0), told_at: at(0), ends_at: at(60), ...more })

const list = async (query = ''): Promise<Lease[]> => {
  const { body } = await api.get(`/v2/leases?${query}`)
  return (body as unknown as { leases: Lease[] }).leases
}
const withheld = async (query = ''): Promise<WithheldAddress[]> => {
  const body: unknown = expectStatus(200, await api.get(`/v2/withheld-addresses?${query}`))
  return (body as { withheld_addresses: WithheldAddress[] }).withheld_addresses
}
const eventsOf = async (type: string) =>
  expectStatus(200, await api.get(`/v2/events?limit=1000&type=${type}`)).events
/** For how many seconds the address of an allocation that ended waits. */
const waitOf = async (allocation: Pick<Allocation, 'id'>) => {
  const { ended_at, quarantined_until } = await getAllocation(allocation)
  return (Date.parse(String(quarantined_until)) - Date.parse(String(ended_at))) / 1000
}
const getAllocation = async ({ id }: Pick<Allocation, 'id'>) =>
  expectStatus(200, await api.get(`/v2/allocations/${id}`))

describe('what is kept', () => {
  test('is all that the server says, whose address it is, and when it came', async () => {
    const allocation = await api.allocateOne(block)
    const told = leaseOf(allocation, {
      client_id: '0152540000aa01',
      duid: '000100011c0a5254',
      iaid: 4_294_967_295,
      host_name: 'web-1',
      relay: { address: '10.60.0.1', circuit_id: 'cafe', remote_id: null },
    })
    expect(await report(api, [told])).toEqual({ accepted: 1, refused: [] })
    expect(await list()).toEqual([
      {
        ...told,
        started_at: micro(at(0)),
        told_at: micro(at(0)),
        ends_at: micro(at(60)),
        server: 'dhcp-1',
        scope_id: block.scope_id,
        project_id: 'red',
        reported_at: await clock.now(),
      },
    ])
  })

  test('is what was told last, in whatever order it comes', async () => {
    const allocation = await api.allocateOne(block)
    const first = leaseOf(allocation)
    const second = { ...first, told_at: at(30), ends_at: at(90), host_name: 'late' }
    const third = { ...first, told_at: at(60), ends_at: at(120), host_name: 'newest' }
    await report(api, [second])
    const reported = await clock.now()
    await clock.advance(10)
    expect(await report(api, [first, second])).toEqual({ accepted: 2, refused: [] })
    expect(await list()).toMatchObject([
      { told_at: micro(at(30)), host_name: 'late', reported_at: reported },
    ])
    await report(api, [third, first], 'dhcp-2')
    expect(await list()).toMatchObject([
      {
        id: first.id,
        server: 'dhcp-2',
        started_at: micro(at(0)),
        told_at: micro(at(60)),
        ends_at: micro(at(120)),
        host_name: 'newest',
        reported_at: await clock.now(),
      },
    ])
  })

  test('is the same after the same report, and an end is final', async () => {
    const allocation = await api.allocateOne(block)
    const told = leaseOf(allocation)
    const released = { ...told, state: 'released' as const, told_at: at(20) }
    await report(api, [told, released, { ...told, told_at: at(40) }])
    const before = await contentOf(api.db)
    await clock.advance(10)
    for (const again of [told, released, { ...told, told_at: at(50) }]) {
      expect(await report(api, [again])).toEqual({ accepted: 1, refused: [] })
    }
    await report(api, [{ ...told, state: 'declined', told_at: at(50) }])
    expect(await list()).toMatchObject([{ state: 'released', told_at: micro(at(20)) }])
    expect({ ...(await contentOf(api.db)), test_clock: null }).toEqual({
      ...before,
      test_clock: null,
    })
  })

  test('may have no end, and any text that a machine calls itself', async () => {
    const allocation = await api.allocateOne(block)
    const told = leaseOf(allocation, { host_name: 'a\0b', ends_at: null, mac_address: null })
    expect(await report(api, [told])).toEqual({ accepted: 1, refused: [] })
    const [lease] = await list('state=current')
    expect(lease).toMatchObject({ host_name: 'a\ufffdb', ends_at: null, mac_address: null })
    await report(api, [{ ...told, told_at: at(1), ends_at: at(2) }])
    expect(await list()).toMatchObject([{ ends_at: micro(at(2)) }])
  })

  test('is history also if the allocation has ended, its block and network too', async () => {
    const allocation = await api.allocateOne(block)
    await api.release(allocation)
    expect(await report(api, [leaseOf(allocation)])).toEqual({ accepted: 1, refused: [] })
    const elsewhere = leaseOf(allocation, { network_id: otherNetwork })
    expect(await report(api, [elsewhere])).toMatchObject({
      refused: [{ reason: 'network_differs' }],
    })
    expectStatus(204 as 200, await api.delete(`/v2/blocks/${block.id}`))
    expectStatus(204 as 200, await api.delete(`/v2/networks/${network_id}`))
    expect(await report(api, [leaseOf(allocation, { told_at: at(9) })])).toMatchObject({
      accepted: 1,
    })
    expect(await list(`allocation_id=${allocation.id}`)).toHaveLength(2)
  })

  test('of a delegated prefix is on the network of the interface', async () => {
    await createMacRange(api)
    const { id } = await createInterface(api, { families: [4] })
    const pool = await api.createBlock('2001:db8:60::/48')
    const prefix = await api.allocateOne(pool, {
      prefix_length: 56,
      owner_type: 'interface',
      owner_id: id,
    })
    expect(prefix.address).toBe('2001:db8:60::/56')
    const wrong = leaseOf(prefix, { network_id: otherNetwork })
    const nobody = await api.allocateOne(pool, {
      prefix_length: 56,
      owner_type: 'interface',
      owner_id: 'x',
    })
    expect(await report(api, [leaseOf(prefix), wrong, leaseOf(nobody)])).toEqual({
      accepted: 1,
      refused: [wrong, { id: expect.any(String), allocation_id: nobody.id }].map(one => ({
        id: one.id,
        allocation_id: one.allocation_id,
        reason: 'network_differs',
      })),
    })
    expect(await list('address=2001:db8:60::/56')).toHaveLength(1)
  })
})

describe('what is refused', () => {
  test('is refused by itself, with the reason, and the others are kept', async () => {
    const [one, other] = [await api.allocateOne(block), await api.allocateOne(block)]
    const known = leaseOf(one)
    await report(api, [known])
    const absent = 'ffffffff-ffff-7fff-8fff-ffffffffffff'
    const reports = [
      leaseOf(one),
      leaseOf({ ...one, id: absent }),
      leaseOf({ ...one, address: other.address }),
      leaseOf(one, { network_id: otherNetwork }),
      leaseOf(other, { id: known.id }),
      leaseOf(other),
    ]
    const reasons = ['allocation_unknown', 'address_differs', 'network_differs', 'lease_of_another']
    const outcome = {
      accepted: 2,
      refused: reports.slice(1, 5).map(({ id, allocation_id }, index) => {
        return { id, allocation_id, reason: reasons[index] }
      }),
    }
    expect(await report(api, reports)).toEqual(outcome)
    expect(await report(api, reports)).toEqual(outcome)
    expect(await list()).toHaveLength(3)
  })

  test('ends nothing', async () => {
    const automatic = await api.allocateOne(block, ofClient(mac))
    const nic = await api.allocateOne(block)
    const wrong = [
      { network_id: otherNetwork },
      { address: '10.60.0.99' },
      { id: randomUUID(), allocation_id: 'ffffffff-ffff-7fff-8fff-ffffffffffff' },
    ]
    const reports = (['released', 'declined'] as const).flatMap(state =>
      [automatic, nic].flatMap(one => wrong.map(more => leaseOf(one, { state, ...more }))),
    )
    const { refused } = await report(api, reports)
    expect(refused).toHaveLength(reports.length)
    expect(await getAllocation(automatic)).toMatchObject({ ended_at: null })
    expect(await withheld()).toEqual([])
    expect(await eventsOf('lease.declined')).toEqual([])
  })

  test('is the request, if it is not well formed', async () => {
    const allocation = await api.allocateOne(block)
    const told = leaseOf(allocation)
    const malformed: [object, string][] = [
      [{ address: 'x' }, 'leases/1/address'],
      [{ told_at: 'now' }, 'leases/1/told_at'],
      [{ ends_at: '2026-02-30T00:00:00Z' }, 'leases/1/ends_at'],
      [{ relay: { address: '', circuit_id: null, remote_id: null } }, 'leases/1/relay/address'],
      [{ client_id: '012' }, 'leases/1/client_id'],
      [{ state: 'expired' }, 'leases/1/state'],
      [{ more: 1 }, 'leases/1/more'],
    ]
    for (const [more, field] of malformed) {
      const answer = await postLeases(api, [told, { ...told, ...more }])
      expectProblem(answer, 'invalid_request', { status: 400, field })
    }
    const bits = await postLeases(api, [{ ...told, address: '10.60.0.1/24' }])
    expectProblem(bits, 'cidr_has_host_bits', { field: 'leases/0/address' })
    expectProblem(await postLeases(api, []), 'invalid_request')
    const many = Array.from({ length: 1001 }, () => told)
    expectProblem(await postLeases(api, many), 'invalid_request')
    expectProblem(await postLeases(api, [told], ''), 'invalid_request', { field: 'server' })
    expect(await list()).toEqual([])
  })
})

describe('a machine that gives its address back', () => {
  test('ends what it got because it asked, and nothing else', async () => {
    const policy = await api.createPolicy('a minute', { quarantine_seconds: 90 })
    expectStatus(200, await api.patch(`/v2/blocks/${block.id}`, { policy_id: policy.id }))
    const automatic = await api.allocateOne(block, ofClient(mac))
    const nic = await api.allocateOne(block, { owner_type: 'interface', owner_id: randomUUID() })
    await report(api, [leaseOf(automatic), leaseOf(nic)])
    const ends = [automatic, nic].map(one => leaseOf(one, { state: 'released', told_at: at(5) }))
    await report(api, ends)
    expect(await waitOf(automatic)).toBe(90)
    expect(await eventsOf('allocation.released')).toMatchObject([{ object_id: automatic.id }])
    expect(await getAllocation(nic)).toMatchObject({ ended_at: null })
    expect(await withheld()).toEqual([])
    expect(await eventsOf('lease.declined')).toEqual([])
  })

  test('keeps what it was told again since, by whichever report that is known', async () => {
    const automatic = await api.allocateOne(block, ofClient(mac))
    const released = leaseOf(automatic, { state: 'released', told_at: at(5) })
    // It was told for years, so that it is still bound by the clock of the database.
    const later = leaseOf(automatic, { started_at: at(6), told_at: at(6), ends_at: null })
    await report(api, [released, later])
    expect(await getAllocation(automatic)).toMatchObject({ ended_at: null })
    const before = leaseOf(automatic, { told_at: at(4), ends_at: null })
    const other = await api.allocateOne(block, ofClient('52:54:00:aa:00:02'))
    const ends = leaseOf(other, { state: 'released', told_at: at(5) })
    await report(api, [{ ...before, allocation_id: other.id, address: other.address }, ends])
    expect((await getAllocation(other)).ended_at).not.toBe(null)
  })

  test('finds nothing to end that has lapsed', async () => {
    const automatic = await api.allocateOne(block, { ...ofClient(mac), lifetime_seconds: 60 })
    await clock.advance(61)
    const ended = leaseOf(automatic, { state: 'released' })
    expect(await report(api, [ended])).toEqual({ accepted: 1, refused: [] })
    expect(await eventsOf('allocation.expired')).toMatchObject([{ object_id: automatic.id }])
    await clock.sweep()
    expect(await report(api, [{ ...ended, id: randomUUID() }])).toMatchObject({ accepted: 1 })
    expect(await eventsOf('allocation.expired')).toHaveLength(1)
  })
})

describe('a machine that finds its address in use', () => {
  test('loses what it got because it asked, into quarantine, and that is told', async () => {
    const automatic = await api.allocateOne(block, ofClient(mac))
    const declined = leaseOf(automatic, {
      state: 'declined',
      mac_address: mac,
      client_id: '01ff',
      host_name: 'h',
    })
    await report(api, [leaseOf(automatic), declined])
    expect(await waitOf(automatic)).toBe(anHour)
    const { quarantined_until } = await getAllocation(automatic)
    expectProblem(await api.ask(block, { address: automatic.address }), 'address_quarantined')
    expect(await eventsOf('lease.declined')).toMatchObject([
      {
        object_id: automatic.id,
        project_id: 'red',
        data: {
          lease_id: declined.id,
          allocation_id: automatic.id,
          block_id: block.id,
          network_id,
          address: automatic.address,
          owner_type: 'dhcp_client',
          owner_id: mac,
          mac_address: mac,
          client_id: '01ff',
          duid: null,
          iaid: null,
          host_name: 'h',
          server: 'dhcp-1',
          told_at: micro(at(0)),
          withheld_until: quarantined_until,
        },
      },
    ])
    expect(await withheld()).toEqual([])
    await report(api, [declined])
    expect(await eventsOf('lease.declined')).toHaveLength(1)
  })

  test('lets it wait as long as the policy says, if that is longer', async () => {
    const policy = await api.createPolicy('a day', { quarantine_seconds: 86_400 })
    expectStatus(200, await api.patch(`/v2/blocks/${block.id}`, { policy_id: policy.id }))
    const [one, other] = [
      await api.allocateOne(block, ofClient(mac)),
      await api.allocateOne(block, ofClient('52:54:00:aa:00:02')),
    ]
    await report(api, [leaseOf(one, { state: 'declined' }), leaseOf(other, { state: 'released' })])
    expect([await waitOf(one), await waitOf(other)]).toEqual([86_400, 86_400])
  })

  test('ends one and releases another in one batch, each with its own quarantine', async () => {
    const [one, other, nic] = [
      await api.allocateOne(block, ofClient(mac)),
      await api.allocateOne(block, { ...ofClient('52:54:00:aa:00:02'), project_id: 'blue' }),
      await api.allocateOne(block),
    ]
    const reports = [
      leaseOf(other, { state: 'released' }),
      leaseOf(one, { state: 'declined' }),
      leaseOf(one, { state: 'released' }),
      leaseOf(nic, { state: 'declined' }),
    ]
    await report(api, reports)
    expect((await getAllocation(one)).quarantined_until).not.toBe(null)
    expect(await getAllocation(other)).toMatchObject({
      ended_at: expect.any(String),
      quarantined_until: null,
    })
    expect(await withheld()).toMatchObject([{ allocation_id: nic.id }])
    expect(await eventsOf('allocation.released')).toHaveLength(2)
    expect(await eventsOf('lease.declined')).toHaveLength(2)
    // Nothing of that is left behind in the connection.
    const { quarantined_until } = await api.release(await api.allocateOne(block))
    expect(quarantined_until).toBe(null)
  })

  test('keeps what is its own, which is withheld for a while', async () => {
    const nic = await api.allocateOne(block, { owner_type: 'interface', owner_id: 'n' })
    const declined = leaseOf(nic, { state: 'declined' })
    await report(api, [declined])
    const since = await clock.now()
    const until = await clock.advance(anHour)
    await clock.advance(-anHour)
    const row = {
      allocation_id: nic.id,
      address: nic.address,
      scope_id: block.scope_id,
      block_id: block.id,
      network_id,
      project_id: 'red',
      owner_type: 'interface',
      owner_id: 'n',
      lease_id: declined.id,
      server: 'dhcp-1',
      withheld_at: since,
      withheld_until: until,
    }
    expect(await withheld()).toEqual([row])
    expect(await eventsOf('lease.declined')).toMatchObject([
      { object_id: nic.id, data: { withheld_until: until } },
    ])
    expect(await getAllocation(nic)).toMatchObject({ ended_at: null, generation: 1 })
    await clock.advance(60)
    const again = leaseOf(nic, { state: 'declined' })
    await report(api, [again, declined])
    const more = await clock.advance(anHour - 1)
    const [longer] = await withheld()
    expect(longer).toMatchObject({ lease_id: again.id, withheld_until: expect.any(String) })
    expect(Date.parse(String(longer?.withheld_until)) - Date.parse(more)).toBe(1000)
    expect(await eventsOf('lease.declined')).toHaveLength(2)
    await clock.advance(1)
    expect(await withheld()).toEqual([])
  })

  test('is history and told, if the allocation has ended, and ends nothing of who came after', async () => {
    const first = await api.allocateOne(block, ofClient(mac))
    await api.release(first)
    const second = await api.allocateOne(block, { ...ofClient(mac), address: first.address })
    await report(api, [leaseOf(first, { state: 'declined' })])
    expect(await getAllocation(second)).toMatchObject({ ended_at: null })
    expect(await withheld()).toEqual([])
    expect(await eventsOf('lease.declined')).toMatchObject([
      { object_id: first.id, data: { owner_id: mac, withheld_until: null } },
    ])
  })
})

describe('withheld addresses', () => {
  test('are told again when an operator says so, and that is an event', async () => {
    const nic = await api.allocateOne(block)
    const url = `/v2/withheld-addresses/${nic.id}`
    expectProblem(await api.delete(url), 'address_not_withheld', { status: 409 })
    await report(api, [leaseOf(nic, { state: 'declined' })])
    const [row] = await withheld()
    expect((await api.delete(url)).status).toBe(204)
    expect(await withheld()).toEqual([])
    expect(await eventsOf('lease.withholding_ended')).toMatchObject([
      {
        object_id: nic.id,
        project_id: 'red',
        data: {
          allocation_id: nic.id,
          block_id: block.id,
          network_id,
          address: nic.address,
          owner_type: null,
          owner_id: null,
          server: 'dhcp-1',
          withheld_until: row?.withheld_until,
        },
      },
    ])
    expectProblem(await api.delete(url), 'address_not_withheld')
    const absent = '/v2/withheld-addresses/ffffffff-ffff-7fff-8fff-ffffffffffff'
    expectProblem(await api.delete(absent), 'allocation_not_found')
  })

  test('go with their allocation and their time, whether or not they are cleared away', async () => {
    const [one, other, third] = [
      await api.allocateOne(block),
      await api.allocateOne(block),
      await api.allocateOne(block),
    ]
    await report(
      api,
      [one, other].map(each => leaseOf(each, { state: 'declined' })),
    )
    await api.release(one)
    expect(await withheld()).toMatchObject([{ allocation_id: other.id }])
    await clock.advance(anHour)
    expectProblem(await api.delete(`/v2/withheld-addresses/${other.id}`), 'address_not_withheld')
    await report(api, [leaseOf(third, { state: 'declined' })])
    const kept = () => api.db.query(sql`select allocation_id from withheld_addresses`)
    expect(await kept()).toHaveLength(3)
    expect(await removeOldWithheld(api.db, { limit: 1 })).toBe(1)
    expect(await removeOldWithheld(api.db, { limit: 10 })).toBe(1)
    expect(await removeOldWithheld(api.db, { limit: 10 })).toBe(0)
    expect(await kept()).toEqual([{ allocation_id: third.id }])
    expect(await withheld()).toMatchObject([{ allocation_id: third.id }])
  })

  test('are listed by network and project, in pages', async () => {
    const other = await api.createBlock('10.61.0.0/24', { network_id: otherNetwork })
    for (const [index, where] of [block, other, other].entries()) {
      const one = await api.allocateOne(where, { project_id: index < 2 ? 'red' : 'blue' })
      const { network_id } = where as { network_id: string }
      await report(api, [reportOf(one, { network_id, state: 'declined' })])
      await clock.advance(1)
    }
    const addresses = async (query: string) => (await withheld(query)).map(one => one.address)
    const own = ['10.60.0.1', '10.61.0.1', '10.61.0.2']
    expect(await addresses('')).toEqual(own)
    expect(await addresses(`network_id=${otherNetwork}`)).toEqual(own.slice(1))
    expect(await addresses('project_id=blue')).toEqual(own.slice(2))
    const pages: string[] = []
    for (let next: string | undefined = '/v2/withheld-addresses?limit=1'; next; ) {
      const body: unknown = expectStatus(200, await api.get(next))
      const page = body as { withheld_addresses: WithheldAddress[]; links: { href: string }[] }
      pages.push(...page.withheld_addresses.map(({ address }) => address))
      next = page.links[0]?.href
    }
    expect(pages).toEqual(own)
  })
})

describe('the list of leases', () => {
  let here: Allocation
  let there: Allocation
  let reports: LeaseReport[]

  beforeEach(async () => {
    const other = await api.createBlock('10.61.0.0/24', { network_id: otherNetwork })
    here = await api.allocateOne(block)
    there = await api.allocateOne(other, { project_id: 'blue' })
    const second = { mac_address: '52:54:00:00:00:02' }
    reports = [
      leaseOf(here, { host_name: 'a', state: 'released', told_at: at(10) }),
      leaseOf(here, { host_name: 'b', started_at: at(20), told_at: at(40), ends_at: at(100) }),
      leaseOf(there, {
        ...second,
        host_name: 'c',
        network_id: otherNetwork,
        started_at: at(30),
        told_at: at(30),
        ends_at: null,
        client_id: '01aa',
        duid: '00bb',
      }),
    ]
    await report(api, reports.slice(0, 2))
    await report(api, reports.slice(2), 'dhcp-2')
  })

  const names = async (query: string) => (await list(query)).map(one => one.host_name).join('')

  test.each([
    ['', 'cba'],
    ['network_id=NETWORK', 'ba'],
    ['allocation_id=ALLOCATION', 'ba'],
    ['scope_id=public&address=10.60.0.1', 'ba'],
    ['address=10.61.0.1', 'c'],
    ['address=10.60.0.0/24', ''],
    ['mac_address=5254.0000.0002', 'c'],
    ['client_id=01AA', 'c'],
    ['client_id=01', ''],
    ['duid=00bb', 'c'],
    ['server=dhcp-1', 'ba'],
    ['project_id=blue', 'c'],
    ['server=dhcp-1&project_id=blue', ''],
    ['state=all', 'cba'],
    [`at=${at(5)}`, 'a'],
    [`at=${at(10)}`, ''],
    [`at=${at(19)}`, ''],
    [`at=${at(20)}`, 'b'],
    [`at=${at(99)}`, 'cb'],
    [`at=${at(100)}`, 'c'],
    [`at=${at(99)}&network_id=NETWORK`, 'b'],
  ])('%s', async (query, found) => {
    const asked = query.replace('NETWORK', network_id).replace('ALLOCATION', here.id)
    expect(await names(asked)).toBe(found)
  })

  test('tells what is in force now from what has ended', async () => {
    // By a clock that stands before, and one behind, the end of the second.
    const seconds = (Date.parse(at(90)) - Date.parse(await clock.now())) / 1000
    await clock.advance(seconds)
    expect([await names('state=current'), await names('state=ended')]).toEqual(['cb', 'a'])
    await clock.advance(20)
    expect([await names('state=current'), await names('state=ended')]).toEqual(['c', 'ba'])
    await clock.advance(-seconds - 20)
  })

  test('comes in pages, also of leases that began at the same time', async () => {
    await report(api, [leaseOf(here, { host_name: 'd' }), leaseOf(here, { host_name: 'e' })])
    const found: string[] = []
    for (let next: string | undefined = '/v2/leases?limit=2'; next; ) {
      const body: unknown = expectStatus(200, await api.get(next))
      const page = body as { leases: Lease[]; links: { href: string }[] }
      found.push(...page.leases.map(({ host_name }) => String(host_name)))
      next = page.links[0]?.href
    }
    expect(found.join('')).toBe(await names('limit=1000'))
    expect(found.toSorted().join('')).toBe('abcde')
    const marker = Buffer.from('["id","x"]').toString('base64url')
    expectProblem(await api.get(`/v2/leases?marker=${marker}`), 'marker_invalid')
  })

  test('refuses what is no value of a filter', async () => {
    const wrong = ['mac_address=52:54:00:00:00:0g', 'duid=0', 'at=now', 'address=x', 'state=x']
    for (const query of [...wrong, 'colour=red']) {
      const field = query.split('=')[0]
      const answer = await api.get(`/v2/leases?${query}`)
      expectProblem(answer, 'invalid_request', { status: 400, field })
    }
  })

  test('shows the newest of an address where that is explained', async () => {
    const path = `/v2/blocks/${block.id}/addresses/${here.address}`
    const explain = async () => expectStatus(200, await api.get(path)) as unknown as object
    const [newest] = await list(`address=${here.address}`)
    expect(await explain()).toMatchObject({ state: 'allocated', detail: null, lease: newest })
    await report(api, [leaseOf(here, { state: 'declined' })])
    const [{ withheld_until } = { withheld_until: '' }] = await withheld()
    expect(await explain()).toMatchObject({
      detail: `A machine found it in use: it is told to nobody until ${withheld_until}.`,
    })
    await api.release(here)
    expect(await explain()).toMatchObject({ state: 'free', detail: null, lease: newest })
    const unused = await api.get(`/v2/blocks/${block.id}/addresses/10.60.0.77`)
    expect(expectStatus(200, unused)).toMatchObject({ lease: null })
  })
})

test('leases that ended long ago are removed, a bounded number at a time', async () => {
  const [one, other] = [await api.allocateOne(block), await api.allocateOne(block)]
  const day = 86_400_000
  const ago = (days: number) => new Date(Date.now() - days * day).toISOString()
  const of = (name: string, days: number, more: Partial<LeaseReport> = {}) =>
    leaseOf(one, {
      host_name: name,
      started_at: ago(900),
      told_at: ago(days),
      ends_at: ago(days),
      ...more,
    })
  await report(api, [
    of('a', 500),
    of('b', 401, { state: 'released', ends_at: ago(-1) }),
    of('c', 401, { state: 'released', ends_at: null }),
    of('d', 500, { ends_at: ago(399) }),
    of('e', 399, { state: 'declined', ends_at: ago(500) }),
    of('f', 500, { ends_at: ago(-1) }),
    of('g', 500, { ends_at: null }),
    of('h', 500, { ends_at: null, allocation_id: other.id, address: other.address }),
  ])
  const { ended_at } = await api.release(other)
  const names = async () =>
    (await list())
      .map(({ host_name }) => host_name)
      .toSorted()
      .join('')
  expect(await removeOldLeases(api.db, { days: 400, limit: 2 })).toBe(2)
  expect(await removeOldLeases(api.db, { days: 400, limit: 2 })).toBe(1)
  expect(await names()).toBe('defgh')
  expect(await removeOldLeases(api.db, { days: 400, limit: 2 })).toBe(0)
  // By then the one that ends never is over, since its allocation is.
  await api.db.query(sql`update allocation_history set started_at = now() - interval '500 days',
    ended_at = now() - interval '401 days' where id = ${other.id}`)
  expect(await removeOldLeases(api.db, { days: 400, limit: 2 })).toBe(1)
  expect(await names()).toBe('defg')
  await api.db.query(sql`update allocation_history 
    set started_at = ${other.started_at}, ended_at = ${ended_at} where id = ${other.id}`)
})

test('reports and withheld addresses are counted', async () => {
  const allocation = await api.allocateOne(block)
  const metrics = async () => {
    const headers = { 'x-auth-token': 'the-token-of-the-tests' }
    return readSamples((await api.app.inject({ url: '/metrics', headers })).payload)
  }
  const count = async (outcome: string) =>
    sumOf(await metrics(), 'melange_lease_reports_total', { outcome }) ?? 0
  const before = [await count('accepted'), await count('refused')]
  await report(api, [
    leaseOf(allocation),
    leaseOf(allocation, { state: 'declined' }),
    leaseOf(allocation, { network_id: otherNetwork }),
  ])
  const counts = [await count('accepted'), await count('refused')]
  expect(counts.map((now, index) => now - (before[index] ?? 0))).toEqual([2, 1])
  expect(sumOf(await metrics(), 'melange_addresses_withheld')).toBe(1)
})
