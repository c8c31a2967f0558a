import { beforeEach, describe, expect, test } from 'vitest'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import type { FloatingIp, FloatingIpRequest } from '../../src/resources/floating-ips/schema.ts'
import { expectProblem, expectStatus, useApi } from '../helpers/api.ts'
import { useClock } from '../helpers/clock.ts'

const api = useApi()
const clock = useClock(api)

let outside: Block
let inside: Block
let first: Allocation
let second: Allocation

beforeEach(async () => {
  const { id: scope_id } = expectStatus(
    201,
    await api.post('/v2/address-scopes', { project_id: 'red', name: 'inside' }),
  )
  outside = await api.createBlock('192.0.2.0/24')
  inside = await api.createBlock('10.0.0.0/24', { scope_id })
  first = await api.allocateOne(inside)
  second = await api.allocateOne(inside)
})

const ask = (request: Partial<FloatingIpRequest> = {}) => {
  const isPlaced = request.network_id !== undefined || request.address !== undefined
  const place = isPlaced ? {} : { block_id: outside.id }
  return api.post('/v2/floating-ips', { project_id: 'red', ...place, ...request })
}
const create = async (request: Partial<FloatingIpRequest> = {}): Promise<FloatingIp> =>
  expectStatus(201, await ask(request))
const point = ({ id }: FloatingIp, at: Pick<Allocation, 'id'> | null) =>
  api.patch(`/v2/floating-ips/${id}`, { private_allocation_id: at?.id ?? null })
const show = async ({ id }: FloatingIp): Promise<FloatingIp> =>
  expectStatus(200, await api.get(`/v2/floating-ips/${id}`))
const list = async (query: string) => {
  const { floating_ips } = expectStatus(200, await api.get(`/v2/floating-ips?${query}`))
  return floating_ips.map(({ id }) => id)
}
const associations = async (query = '') =>
  expectStatus(200, await api.get(`/v2/floating-ips/associations?${query}`)).associations
const eventsOf = async ({ id }: { id: string }) => {
  const { events } = expectStatus(200, await api.get('/v2/events?limit=1000'))
  return events.filter(({ object_id }) => object_id === id)
}
const typesOf = async (one: { id: string }) => (await eventsOf(one)).map(({ type }) => type)

describe('a floating IP', () => {
  test('is an allocation of the public scope, with a name of its own', async () => {
    const made = await create({ name: 'web', description: 'front', tags: ['a'] })
    expect(made).toEqual({
      id: expect.any(String),
      project_id: 'red',
      name: 'web',
      description: 'front',
      tags: ['a'],
      allocation_id: expect.any(String),
      address: '192.0.2.1',
      private_allocation_id: null,
      private_address: null,
      associated_at: null,
      generation: 1,
      created_at: expect.any(String),
      updated_at: expect.any(String),
    })
    expect(await show(made)).toEqual(made)
    const allocation = expectStatus(200, await api.get(`/v2/allocations/${made.allocation_id}`))
    const owner = { owner_type: 'floating_ip', owner_id: made.id, project_id: 'red' }
    expect(allocation).toMatchObject({ address: made.address, block_id: outside.id, ...owner })
    expect((await eventsOf(made)).map(({ type, data }) => ({ type, data }))).toEqual([
      { type: 'floating_ip.created', data: made },
    ])
    expect(await associations()).toEqual([])
  })

  test('is taken by number, from a network, or with the id that it has elsewhere', async () => {
    expect(await create({ address: '192.0.2.77' })).toMatchObject({ address: '192.0.2.77' })
    expectProblem(await ask({ address: '192.0.2.77' }), 'address_taken', { status: 409 })
    expectProblem(await ask({ address: '198.51.100.1' }), 'address_outside_block')
    const { id: network_id } = expectStatus(201, await api.post('/v2/networks', { name: 'edge' }))
    expectProblem(await ask({ network_id }), 'no_subnet')
    await api.createBlock('198.51.100.0/24', { network_id })
    expect(await create({ network_id })).toMatchObject({ address: '198.51.100.1' })
    const certain = await create({ network_id, address: '198.51.100.9' })
    expect(certain).toMatchObject({ address: '198.51.100.9' })
    const id = '0198c0de-0000-7000-8000-00000000abcd'
    expect(await create({ id: id.toUpperCase() })).toMatchObject({ id })
    expectProblem(await ask({ id }), 'floating_ip_exists', { field: 'id' })
  })

  test.each([
    ['no place', { block_id: undefined }, 'invalid_request'],
    ['a member that is not known', { floating: true }, 'invalid_request'],
    ['no address', { address: 'here' }, 'invalid_request'],
  ])('is not made of %s', async (_what, body, code) => {
    const payload = { project_id: 'red', block_id: outside.id, ...body }
    expectProblem(await api.post('/v2/floating-ips', payload), code, { status: 400 })
  })

  test('is made of nothing but the public scope', async () => {
    const refused = await ask({ block_id: inside.id })
    expectProblem(refused, 'block_not_public', { status: 409 })
    expect(await api.utilisation(inside)).toMatchObject({ allocated: '2' })
  })

  test('points at a private allocation from the start', async () => {
    const made = await create({ private_allocation_id: first.id })
    expect(made).toMatchObject({
      private_allocation_id: first.id,
      private_address: first.address,
      associated_at: expect.any(String),
      generation: 1,
    })
    expect(await typesOf(made)).toEqual(['floating_ip.created'])
    expect(await associations()).toEqual([
      {
        id: expect.any(String),
        floating_ip_id: made.id,
        project_id: 'red',
        allocation_id: made.allocation_id,
        address: made.address,
        private_allocation_id: first.id,
        private_address: first.address,
        started_at: made.associated_at,
        ended_at: null,
      },
    ])
  })

  test('is associated, moved and disassociated; the history has no gap in a move', async () => {
    const made = await create()
    const on = expectStatus(200, await point(made, first))
    const moved = expectStatus(200, await point(made, second))
    const renamed = await api.patch(`/v2/floating-ips/${made.id}`, { name: 'new' })
    expect(renamed.body).toEqual({
      ...moved,
      name: 'new',
      generation: 4,
      updated_at: renamed.body.updated_at,
    })
    const off = expectStatus(200, await point(made, null))
    expect(on).toMatchObject({ private_address: first.address, generation: 2 })
    expect(moved).toMatchObject({ private_address: second.address, generation: 3 })
    expect(off).toMatchObject({ private_allocation_id: null, associated_at: null, generation: 5 })
    const [one, other, ...more] = await associations(`floating_ip_id=${made.id}`)
    expect(one).toMatchObject({ private_address: first.address, started_at: on.associated_at })
    expect(one?.ended_at).toBe(moved.associated_at)
    expect(other?.started_at).toBe(moved.associated_at)
    expect(other).toMatchObject({ private_address: second.address, ended_at: expect.any(String) })
    expect(more).toEqual([])
    const types = ['created', 'associated', 'moved', 'updated', 'disassociated']
    expect(await typesOf(made)).toEqual(types.map(type => `floating_ip.${type}`))
    const [, ...told] = (await eventsOf(made)).map(({ data }) => data)
    expect(told).toEqual([on, moved, renamed.body, off])
  })

  test('is changed only as it is known', async () => {
    const made = await create()
    const path = `/v2/floating-ips/${made.id}`
    const body = { private_allocation_id: first.id }
    const one = await api.request('PATCH', path, body, { 'if-match': '"1"' })
    expect(one.status).toBe(200)
    const stale = await api.request('PATCH', path, { name: 'late' }, { 'if-match': '"1"' })
    expectProblem(stale, 'precondition_failed', { status: 412 })
    const gone = await api.request('DELETE', path, undefined, { 'if-match': '"1"' })
    expectProblem(gone, 'precondition_failed')
    expect(await show(made)).toEqual(one.body)
  })

  test('goes with its address, which waits', async () => {
    const policy = await api.createPolicy('wait', { quarantine_seconds: 600 })
    await api.patch(`/v2/blocks/${outside.id}`, { policy_id: policy.id })
    const made = await create({ private_allocation_id: first.id })
    expect(await api.delete(`/v2/floating-ips/${made.id}`)).toMatchObject({ status: 204 })
    expectProblem(await api.get(`/v2/floating-ips/${made.id}`), 'floating_ip_not_found')
    expectProblem(await api.delete(`/v2/floating-ips/${made.id}`), 'floating_ip_not_found')
    const { body: ended } = await api.get(`/v2/allocations/${made.allocation_id}`)
    expect(ended.quarantined_until).toEqual(expect.any(String))
    expect(await typesOf(made)).toEqual(
      ['created', 'disassociated', 'deleted'].map(type => `floating_ip.${type}`),
    )
    const [past] = await associations()
    expect(past).toMatchObject({ floating_ip_id: made.id, ended_at: ended.ended_at })
    // Nobody else can have the address now, but who had it can, by the same id.
    expectProblem(await ask({ address: made.address }), 'address_quarantined')
    const again = await create({ id: made.id, address: made.address })
    expect(again).toMatchObject({ id: made.id, address: made.address, generation: 1 })
    expect(again.allocation_id).not.toBe(made.allocation_id)
  })

  test('goes when somebody releases its allocation', async () => {
    const made = await create({ private_allocation_id: first.id })
    const idle = await create()
    const allocations = [made, idle].map(({ allocation_id }) => ({ id: allocation_id }))
    expectStatus(200, await api.post('/v2/allocations/release', { allocations }))
    expect(await list('')).toEqual([])
    expect(await typesOf(idle)).toEqual(['floating_ip.created', 'floating_ip.deleted'])
    expect(await associations(`at=${new Date(Date.now() + 60_000).toISOString()}`)).toEqual([])
    expect(await create({ private_allocation_id: first.id })).toMatchObject({ generation: 1 })
  })
})

describe('what a floating IP points at', () => {
  test('has no other', async () => {
    const made = await create({ private_allocation_id: first.id })
    const other = await create()
    const facts = { status: 409, field: 'private_allocation_id' }
    expectProblem(await point(other, first), 'private_allocation_associated', facts)
    expectProblem(await ask({ private_allocation_id: first.id }), 'private_allocation_associated')
    expect((await point(made, first)).status).toBe(200)
    await point(made, null)
    expect((await point(other, first)).status).toBe(200)
  })

  test('is a current allocation of one address, of the IP version, in a private scope', async () => {
    const made = await create()
    const nobody = { id: '00000000-0000-7000-8000-000000000000' }
    expectProblem(await point(made, nobody), 'allocation_not_found', { status: 404 })
    const { scope_id } = inside
    const block6 = await api.createBlock('fd00::/64', { scope_id })
    const unfit = [
      await api.allocateOne(outside),
      await api.allocateOne(inside, { prefix_length: 28 }),
      await api.allocateOne(block6),
      { id: made.allocation_id },
    ]
    for (const one of unfit) {
      expectProblem(await point(made, one), 'private_allocation_unfit', { status: 409 })
    }
    await api.release(first)
    expectProblem(await point(made, first), 'allocation_ended', { status: 409 })
    const hold = await api.allocateOne(inside, { lifetime_seconds: 10 })
    await clock.advance(11)
    expectProblem(await point(made, hold), 'hold_expired', { status: 409 })
    expect(await show(made)).toEqual(made)
  })

  test('takes the association along when it is released', async () => {
    const made = await create({ private_allocation_id: first.id })
    const { ended_at } = await api.release(first)
    expect(await show(made)).toMatchObject({ private_allocation_id: null, generation: 2 })
    expect(await associations()).toMatchObject([{ floating_ip_id: made.id, ended_at }])
    expect(await typesOf(made)).toEqual(['floating_ip.created', 'floating_ip.disassociated'])
    expect((await point(made, second)).status).toBe(200)
  })

  test('takes it along when it lapses', async () => {
    const hold = await api.allocateOne(inside, { lifetime_seconds: 10 })
    const made = await create({ private_allocation_id: hold.id })
    await clock.advance(11)
    await api.allocateOne(inside)
    expect(await show(made)).toMatchObject({ private_allocation_id: null, generation: 2 })
  })

  test('may end together with the floating IP', async () => {
    const made = await create({ private_allocation_id: first.id })
    const allocations = [{ id: first.id }, { id: made.allocation_id }]
    expectStatus(200, await api.post('/v2/allocations/release', { allocations }))
    expect(await typesOf(made)).toEqual(
      ['created', 'disassociated', 'deleted'].map(type => `floating_ip.${type}`),
    )
  })
})

describe('lists', () => {
  test('of floating IPs are narrowed by what they are and point at', async () => {
    const on = await create({ private_allocation_id: first.id, name: 'on', tags: ['x'] })
    const off = await create({ project_id: 'blue' })
    expect(await list('')).toEqual([on.id, off.id])
    expect(await list('project_id=blue')).toEqual([off.id])
    expect(await list(`address=${on.address}`)).toEqual([on.id])
    expect(await list(`allocation_id=${on.allocation_id}`)).toEqual([on.id])
    expect(await list(`private_allocation_id=${first.id}`)).toEqual([on.id])
    expect(await list(`private_address=${first.address}`)).toEqual([on.id])
    expect(await list(`private_address=${second.address}`)).toEqual([])
    expect(await list('associated=true')).toEqual([on.id])
    expect(await list('associated=false')).toEqual([off.id])
    expect(await list('name=on&tag=x')).toEqual([on.id])
    const pages = await api.pages('floating_ips', '/v2/floating-ips?limit=1')
    expect(pages.flat().map(({ id }) => id)).toEqual([on.id, off.id])
    expectProblem(await api.get('/v2/floating-ips?marker=x'), 'marker_invalid')
    expectProblem(await api.get('/v2/floating-ips?address=x'), 'invalid_request')
  })

  test('of associations tell who was behind an address at a time', async () => {
    const made = await create({ private_allocation_id: first.id })
    await clock.advance(60)
    const moved = expectStatus(200, await point(made, second))
    const at = async (time: string | null) =>
      (await associations(`address=${made.address}&at=${time}`)).map(one => one.private_address)
    expect(await at(made.associated_at)).toEqual([first.address])
    expect(await at(moved.associated_at)).toEqual([second.address])
    expect(await associations(`private_allocation_id=${first.id}`)).toHaveLength(1)
    expect(await associations(`private_address=${second.address}`)).toHaveLength(1)
    expect(await associations('project_id=blue')).toEqual([])
    const pages = await api.pages('associations', '/v2/floating-ips/associations?limit=1')
    expect(pages.flat().map(one => one.private_address)).toEqual([first.address, second.address])
    expectProblem(await api.get('/v2/floating-ips/associations?marker=x'), 'marker_invalid')
  })
})

describe('a quota of floating IPs', () => {
  const limit = (body: object) => api.put('/v2/quotas/red', body)
  const used = async () => {
    const { body } = await api.get('/v2/quotas/red')
    return (body as unknown as { floating_ips: { used: number } }).floating_ips.used
  }

  test('is held to, and what is released is room again', async () => {
    expectStatus(200, await limit({ floating_ips: 2 }))
    const [one] = [await create(), await create()]
    expectProblem(await ask(), 'quota_exceeded', {
      detail: 'Project red has 2 of 2 floating IPs, and asked for 1 more.',
    })
    expect(await used()).toBe(2)
    await create({ project_id: 'blue' })
    await api.delete(`/v2/floating-ips/${one?.id}`)
    await create()
    expect(await used()).toBe(2)
    const scoped = { scope_id: 'public', floating_ips: 1 }
    expectStatus(200, await limit({ floating_ips: null }))
    expectStatus(200, await limit(scoped))
    expectProblem(await ask(), 'quota_exceeded', {
      detail:
        'Project red has 2 of 1 floating IPs in the address scope public, and asked for 1 more.',
    })
  })

  test('lets exactly so many of many at once', async () => {
    expectStatus(200, await limit({ floating_ips: 5 }))
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask()))
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(5)
    expect(await used()).toBe(5)
  })
})
