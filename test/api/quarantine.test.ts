import { describe, expect, test } from 'vitest'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import type { PolicyRulesRequest } from '../../src/resources/policies/schema.ts'
import { expectProblem, expectStatus, useApi } from '../helpers/api.ts'
import { useClock } from '../helpers/clock.ts'

const api = useApi()
const clock = useClock(api)

const nobody = '01900000-0000-7000-8000-000000000000'
let policies = 0
/** A block in which addresses wait for five minutes, unless the rules say something else. */
async function createWaiting(cidr: string, rules: PolicyRulesRequest = {}): Promise<Block> {
  const name = `policy-${policies++}`
  const policy = await api.createPolicy(name, { quarantine_seconds: 300, ...rules })
  return api.createBlock(cidr, { policy_id: policy.id })
}
const list = async (query = '') =>
  expectStatus(200, await api.get(`/v2/quarantine?${query}`)).quarantine
const addressesOf = (items: readonly { address: string }[]) => items.map(({ address }) => address)
/** Allocates and releases each of some addresses, one after the other. */
async function endEach(block: Block, addresses: readonly string[], wish: object = {}) {
  const ended: Allocation[] = []
  for (const address of addresses) {
    ended.push(await api.release(await api.allocateOne(block, { address, ...wish })))
  }
  return ended
}

describe('a released address', () => {
  test('waits as long as the policy says, counted apart, and then is free (I3, I6)', async () => {
    const block = await createWaiting('10.0.0.0/29')
    const held = await api.allocateOne(block, { owner_id: 'vm-1' })
    const ended = await api.release(held)
    const wait = Date.parse(String(ended.quarantined_until)) - Date.parse(String(ended.ended_at))
    expect(wait).toBe(300_000)
    const waiting = { allocated: '0', quarantined: '1', free: '5', excluded: '2' }
    expect(await api.utilisation(block)).toMatchObject(waiting)
    expect(await api.freeRanges(block)).toEqual(['10.0.0.2-10.0.0.6'])
    await clock.advance(299)
    await clock.sweep()
    expect(await api.utilisation(block)).toMatchObject(waiting)
    await clock.advance(2)
    await clock.sweep()
    expect(await api.utilisation(block)).toMatchObject({ quarantined: '0', free: '6' })
    expect(await api.freeRanges(block)).toEqual(['10.0.0.1-10.0.0.6'])
    expect(await list()).toEqual([])
  })

  test('is free at once where no policy says otherwise', async () => {
    const block = await api.createBlock('10.0.0.0/29')
    const ended = await api.release(await api.allocateOne(block))
    expect(ended.quarantined_until).toBeNull()
    expect(await api.utilisation(block)).toMatchObject({ quarantined: '0', free: '6' })
  })

  test('is refused to others, passed over for the next, and taken back by its owner', async () => {
    const block = await createWaiting('10.0.0.0/24')
    const owner = { project_id: 'red', owner_type: 'instance', owner_id: 'vm-1' }
    const [ended] = await endEach(block, ['10.0.0.1'], owner)
    const wish = { ...owner, address: '10.0.0.1' }
    for (const other of [
      { project_id: 'blue' },
      { owner_type: 'router' },
      { owner_id: 'vm-2' },
      { owner_type: undefined },
      { owner_id: undefined },
    ]) {
      const refused = await api.ask(block, { ...wish, ...other } as typeof wish)
      const detail = `10.0.0.1 is in quarantine until ${ended?.quarantined_until}`
      expectProblem(refused, 'address_quarantined', {
        status: 409,
        field: 'address',
        detail: expect.stringContaining(detail),
      })
    }
    expect(await api.allocateOne(block)).toMatchObject({ address: '10.0.0.2' })
    const next = await api.allocateOne(block, { ...wish, owner_id: 'vm-2', fallback: 'next' })
    expect(next).toMatchObject({ address: '10.0.0.3' })
    const back = await api.allocateOne(block, wish)
    expect(back).toMatchObject(wish)
    expect(back.id).not.toBe(ended?.id)
    expect(await list()).toEqual([])
  })

  test('of nobody in particular waits for nobody, but can be restored by its id', async () => {
    const block = await createWaiting('10.0.0.0/24')
    const [ended] = await endEach(block, ['10.0.0.9'])
    expectProblem(await api.ask(block, { address: '10.0.0.9' }), 'address_quarantined')
    const answer = await api.post(`/v2/allocations/${ended?.id}/restore`, {})
    expect(expectStatus(201, answer)).toMatchObject({ address: '10.0.0.9', owner_id: null })
  })

  test('of a delegated prefix waits as a whole, and goes back as a whole', async () => {
    const block = await createWaiting('2001:db8::/48')
    const owner = { owner_id: 'vm-1' }
    const held = await api.allocateOne(block, { prefix_length: 56, ...owner })
    await api.release(held)
    expect(await api.utilisation(block)).toMatchObject({ quarantined: String(2n ** 72n) })
    for (const address of ['2001:db8::1', '2001:db8:0:8::/61', '2001:db8::/52']) {
      expectProblem(await api.ask(block, { address, ...owner }), 'address_quarantined')
    }
    expect(addressesOf(await list('address=2001:db8:0:7f::1'))).toEqual([held.address])
    expect(await api.allocateOne(block, { prefix_length: 56 })).not.toMatchObject({
      address: held.address,
    })
    expect(await api.allocateOne(block, { address: held.address, ...owner })).toMatchObject({
      address: held.address,
    })
  })

  test('is free in another scope meanwhile', async () => {
    const block = await createWaiting('10.0.0.0/24')
    await endEach(block, ['10.0.0.7'])
    const { body: scope } = await api.post('/v2/address-scopes', { project_id: 'red', name: 'lab' })
    const other = await api.createBlock('10.0.0.0/24', { scope_id: scope.id })
    expect(await api.allocateOne(other, { address: '10.0.0.7' })).toMatchObject({
      scope_id: scope.id,
    })
    expect(await list(`scope_id=${scope.id}`)).toEqual([])
  })

  test('waits as long as the rule said when it was released', async () => {
    const policy = await api.createPolicy('short', { quarantine_seconds: 10 })
    const block = await api.createBlock('10.0.0.0/24', { policy_id: policy.id })
    await endEach(block, ['10.0.0.1'])
    const change = (rules: PolicyRulesRequest) => api.patch(`/v2/policies/${policy.id}`, { rules })
    await change({ quarantine_seconds: 1000 })
    await endEach(block, ['10.0.0.2'])
    await change({})
    await endEach(block, ['10.0.0.3'])
    expect(addressesOf(await list())).toEqual(['10.0.0.1', '10.0.0.2'])
    await clock.advance(11)
    await clock.sweep()
    expect(addressesOf(await list())).toEqual(['10.0.0.2'])
  })

  test('that rules exclude meanwhile does not become free at the end', async () => {
    const policy = await api.createPolicy('wait', { quarantine_seconds: 10 })
    const block = await api.createBlock('10.0.0.0/29', { policy_id: policy.id })
    const [ended] = await endEach(block, ['10.0.0.3', '10.0.0.4'], { owner_id: 'vm-1' })
    const rules = { quarantine_seconds: 10, exclusions: { addresses: ['10.0.0.3'] } }
    expectStatus(200, await api.patch(`/v2/policies/${policy.id}`, { rules }))
    await clock.advance(11)
    await clock.sweep()
    expect(await api.utilisation(block)).toMatchObject({ quarantined: '0', excluded: '3' })
    expect(await api.freeRanges(block)).toEqual(['10.0.0.1-10.0.0.2', '10.0.0.4-10.0.0.6'])
    expectProblem(await api.ask(block, { address: ended?.address ?? '' }), 'address_excluded')
  })

  test('that a generator made is given to its owner again, to others another', async () => {
    const policy = await api.createPolicy('eui64', {
      quarantine_seconds: 300,
      ipv6_generator: { kind: 'eui64' },
    })
    const { body: network } = await api.post('/v2/networks', { policy_id: policy.id })
    const block = await api.createBlock('2001:db8::/64', { network_id: network.id })
    const take = async (owner_id: string, place: object) => {
      const wish = { project_id: 'red', mac_address: '52:54:00:12:34:56', owner_id, ...place }
      const { allocations } = expectStatus(201, await api.post('/v2/allocations', wish))
      return allocations[0] as Allocation
    }
    for (const place of [{ network_id: network.id, families: [6] }, { block_id: block.id }]) {
      const first = await api.release(await take('vm-1', place))
      expect(first.address).toBe('2001:db8::5054:ff:fe12:3456')
      const other = await api.release(await take('vm-2', place))
      expect(other.address).not.toBe(first.address)
      for (const { owner_id, address } of [other, first]) {
        expect(await api.release(await take(String(owner_id), place))).toMatchObject({ address })
      }
    }
  })
})

describe('what waits', () => {
  test('is listed by scope, block, owner and address, those first that will wait no more', async () => {
    const a = await createWaiting('10.0.0.0/24')
    const b = await createWaiting('10.0.1.0/24', { quarantine_seconds: 100 })
    const [one, two] = await endEach(a, ['10.0.0.1', '10.0.0.2'], { owner_id: 'vm-1' })
    const [three] = await endEach(b, ['10.0.1.1'], {
      project_id: 'blue',
      owner_type: 'router',
      owner_id: 'vm-1',
    })
    const [four] = await endEach(b, ['10.0.1.2'])
    const shown = (ended: Allocation | undefined) => {
      const { id: allocation_id, address, scope_id, block_id } = ended as Allocation
      const { project_id, owner_type, owner_id, ended_at, quarantined_until } = ended as Allocation
      return {
        ...{ allocation_id, address, scope_id, block_id, project_id, owner_type, owner_id },
        ...{ ended_at, quarantined_until },
      }
    }
    const cases: [string, (Allocation | undefined)[]][] = [
      ['', [three, four, one, two]],
      ['scope_id=public', [three, four, one, two]],
      [`scope_id=${nobody}`, []],
      [`block_id=${a.id}`, [one, two]],
      ['project_id=red', [four, one, two]],
      ['owner_id=vm-1', [three, one, two]],
      ['owner_id=vm-1&project_id=red', [one, two]],
      ['owner_type=router', [three]],
      ['address=10.0.0.2', [two]],
      ['address=10.0.0.2/32', [two]],
      ['address=10.0.0.3', []],
      ['address=10.0.0.2&scope_id=public', [two]],
    ]
    for (const [query, expected] of cases) {
      expect([query, await list(query)]).toEqual([query, expected.map(shown)])
    }
    const pages = await api.pages('quarantine', '/v2/quarantine?limit=3')
    expect(pages).toEqual([[three, four, one].map(shown), [two].map(shown)])
    expectProblem(await api.get('/v2/quarantine?marker=x'), 'marker_invalid', { status: 400 })
    const odd = await api.get('/v2/quarantine?address=10.0.0.1/24')
    expectProblem(odd, 'cidr_has_host_bits', { field: 'address' })
  })

  test('can be freed early: one, some, or all of a block', async () => {
    const a = await createWaiting('10.0.0.0/28')
    const b = await createWaiting('10.0.1.0/28')
    const [one, two, three, four] = await endEach(a, [
      '10.0.0.1',
      '10.0.0.2',
      '10.0.0.3',
      '10.0.0.4',
    ])
    await endEach(b, ['10.0.1.1', '10.0.1.2'])
    expectStatus(204, await api.delete(`/v2/quarantine/${two?.id}`))
    expect(addressesOf(await list(`block_id=${a.id}`))).toEqual([
      '10.0.0.1',
      '10.0.0.3',
      '10.0.0.4',
    ])
    expect(await api.freeRanges(a)).toEqual(['10.0.0.2-10.0.0.2', '10.0.0.5-10.0.0.14'])

    const end = async (body: object) =>
      expectStatus(200, await api.post('/v2/quarantine/end', body))
    // Who is gone already, or never was, is in nobody's way.
    const allocation_ids = [one?.id, two?.id, three?.id, nobody]
    expect(await end({ allocation_ids })).toEqual({ ended: 2, more: false })
    expect(await end({ allocation_ids })).toEqual({ ended: 0, more: false })
    expect(addressesOf(await list(`block_id=${a.id}`))).toEqual([four?.address])
    expect(await end({ block_id: b.id })).toEqual({ ended: 2, more: false })
    expect(await end({ block_id: b.id })).toEqual({ ended: 0, more: false })
    expect(await api.utilisation(b)).toMatchObject({ quarantined: '0', free: '14' })
    expect(addressesOf(await list())).toEqual([four?.address])
    expect(await api.freeRanges(b)).toEqual(['10.0.1.1-10.0.1.14'])
  })

  test('in a block is freed in steps of 4096', async () => {
    const block = await createWaiting('10.0.0.0/19')
    const owner = { project_id: 'red', owner_id: 'node-1' }
    for (const count of [4096, 3]) {
      await api.allocate(block, { ...owner, count })
      expectStatus(200, await api.post('/v2/allocations/release', owner))
    }
    const end = () => api.post('/v2/quarantine/end', { block_id: block.id })
    expect((await end()).body).toEqual({ ended: 4096, more: true })
    expect((await end()).body).toEqual({ ended: 3, more: false })
    expect(await api.utilisation(block)).toMatchObject({ quarantined: '0', free: '8190' })
  })

  test('is named rightly, or nothing is freed', async () => {
    const block = await createWaiting('10.0.0.0/24')
    const held = await api.allocateOne(block)
    const end = (body: object) => api.post('/v2/quarantine/end', body)
    for (const body of [{}, { block_id: block.id, allocation_ids: [held.id] }]) {
      expectProblem(await end(body), 'invalid_request', { status: 400, field: 'allocation_ids' })
    }
    for (const allocation_ids of [[], ['x'], 'x']) {
      expectProblem(await end({ allocation_ids }), 'invalid_request')
    }
    expectProblem(await end({ block_id: nobody }), 'block_not_found', { status: 404 })
    const ghost = await api.delete(`/v2/quarantine/${nobody}`)
    expectProblem(ghost, 'allocation_not_found', { status: 404 })
    const current = await api.delete(`/v2/quarantine/${held.id}`)
    expectProblem(current, 'allocation_not_ended', { status: 409 })
    await api.release(held)
    expectStatus(204, await api.delete(`/v2/quarantine/${held.id}`))
    const again = await api.delete(`/v2/quarantine/${held.id}`)
    expectProblem(again, 'quarantine_over', { status: 409 })
  })

  test('keeps its block: no deletion, children, shrinking or gateway there, until it is freed', async () => {
    const block = await createWaiting('10.0.0.0/24')
    const [ended] = await endEach(block, ['10.0.0.200'])
    const conflicts = [{ type: 'quarantine', id: ended?.id, address: '10.0.0.200' }]
    const path = `/v2/blocks/${block.id}`
    const inUse = { status: 409, conflicts }
    expectProblem(await api.delete(path), 'block_in_use', inUse)
    expectProblem(await api.patch(path, { cidr: '10.0.0.0/25' }), 'block_in_use', inUse)
    const gateway = await api.patch(path, { gateway_ip: '10.0.0.200' })
    expectProblem(gateway, 'gateway_taken', inUse)
    const children = await api.post(`${path}/children`, { prefix_length: 26 })
    expectProblem(children, 'block_has_allocations', { status: 409 })
    expectStatus(200, await api.patch(path, { cidr: '10.0.0.128/25' }))
    expect(await api.utilisation(block)).toMatchObject({ quarantined: '1', total: '128' })

    expectStatus(200, await api.post('/v2/quarantine/end', { block_id: block.id }))
    const [child] = await api.cut(block, { prefix_length: 26 })
    expectStatus(204, await api.delete(`/v2/blocks/${child?.id}`))
    expectStatus(204, await api.delete(path))
  })
})

describe('where a policy says `when_full`', () => {
  const early = { quarantine_reuse: 'when_full' } as const

  test('others get what waits, when nothing else is free, the oldest first', async () => {
    const block = await createWaiting('10.0.0.0/29', early)
    const order = ['10.0.0.4', '10.0.0.2', '10.0.0.6', '10.0.0.3']
    const ended = await endEach(block, order)
    const given: string[] = []
    for (let n = 0; n < 2; n++) given.push((await api.allocateOne(block)).address)
    expect(given).toEqual(['10.0.0.1', '10.0.0.5'])
    expect(await list()).toHaveLength(4)
    for (let n = 0; n < 4; n++) given.push((await api.allocateOne(block)).address)
    expect(given.slice(2)).toEqual(order)
    expectProblem(await api.ask(block), 'block_full')
    const restored = await api.post(`/v2/allocations/${ended[0]?.id}/restore`, {})
    expectProblem(restored, 'quarantine_over')
  })

  test('as many are taken as are lacking, and none if that is not enough', async () => {
    const block = await createWaiting('10.0.0.0/29', early)
    await endEach(block, ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4'])
    expectProblem(await api.ask(block, { count: 7 }), 'block_full')
    expect(await list()).toHaveLength(4)
    expect(await api.allocate(block, { count: 3 })).toMatchObject([
      { address: '10.0.0.1' },
      { address: '10.0.0.5' },
      { address: '10.0.0.6' },
    ])
    expect(addressesOf(await list())).toEqual(['10.0.0.2', '10.0.0.3', '10.0.0.4'])
    const several = await Promise.all([3, 2, 2, 1].map(count => api.ask(block, { count })))
    const given = several.flatMap(({ body }) => body.allocations ?? [])
    expect(new Set(addressesOf(given)).size).toBe(given.length)
    expect(3 - given.length).toBe((await list()).length)
  })

  test('a certain address and a prefix are not had before their time', async () => {
    const block = await createWaiting('10.0.0.0/29', early)
    await api.allocate(block, { count: 3 })
    await endEach(block, ['10.0.0.4', '10.0.0.5'])
    await api.allocateOne(block, { address: '10.0.0.6' })
    expectProblem(await api.ask(block, { address: '10.0.0.4' }), 'address_quarantined')
    expectProblem(await api.ask(block, { prefix_length: 31 }), 'no_free_prefix')
    expectProblem(await api.ask(block, { count: 2, contiguous: true }), 'no_free_prefix')
    expect(await list()).toHaveLength(2)
    const next = await api.allocateOne(block, { address: '10.0.0.5', fallback: 'next' })
    expect(next.address).toBe('10.0.0.4')
  })

  test('a pool is helped by what waits of it, and no other', async () => {
    const block = await createWaiting('10.0.0.0/29', {
      ...early,
      exclusions: { last_octets: [6] },
      purposes: [{ purpose: 'lb', addresses: ['10.0.0.1', '10.0.0.2'] }],
    })
    const lb = { purpose: 'lb' }
    await endEach(block, ['10.0.0.1', '10.0.0.2'], lb)
    const firm = await api.allocate(block, { count: 3 })
    expect(addressesOf(firm)).toEqual(['10.0.0.3', '10.0.0.4', '10.0.0.5'])
    expectProblem(await api.ask(block), 'block_full')
    expect(await list()).toHaveLength(2)
    expectProblem(await api.ask(block, { ...lb, count: 3 }), 'block_full')
    expect(await list()).toHaveLength(2)
    expect(await api.allocateOne(block, lb)).toMatchObject({ address: '10.0.0.1' })
    await api.release(firm[1] as Allocation)
    expect(await api.allocateOne(block)).toMatchObject({ address: '10.0.0.4' })
    expect(addressesOf(await list())).toEqual(['10.0.0.2'])
  })

  test('a network helps itself only when all of its subnets are full', async () => {
    const policy = await api.createPolicy('early', { quarantine_seconds: 300, ...early })
    const { body: network } = await api.post('/v2/networks', { policy_id: policy.id })
    const wish = { network_id: network.id, project_id: 'red' }
    const a = await api.createBlock('10.0.0.0/30', { network_id: network.id })
    const b = await api.createBlock('10.0.1.0/30', { network_id: network.id, priority: 1 })
    await endEach(a, ['10.0.0.1', '10.0.0.2'])
    const one = async () => {
      const { allocations } = expectStatus(201, await api.post('/v2/allocations', wish))
      return allocations[0]?.address
    }
    expect([await one(), await one()]).toEqual(['10.0.1.1', '10.0.1.2'])
    const many = await api.post('/v2/allocations', { ...wish, count: 3 })
    expectProblem(many, 'network_full')
    expect(addressesOf(await list())).toEqual(['10.0.0.1', '10.0.0.2'])
    expect(await one()).toBe('10.0.0.1')
    expect(await api.utilisation(b)).toMatchObject({ allocated: '2', quarantined: '0' })
    expect(addressesOf(await list())).toEqual(['10.0.0.2'])
  })

  test('and only there: elsewhere a block with addresses that wait is full', async () => {
    const block = await createWaiting('10.0.0.0/30', { quarantine_reuse: 'never' })
    await endEach(block, ['10.0.0.1', '10.0.0.2'])
    expectProblem(await api.ask(block), 'block_full')
    expect(await list()).toHaveLength(2)
  })
})
