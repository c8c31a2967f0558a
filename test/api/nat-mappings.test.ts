import { beforeEach, describe, expect, test } from 'vitest'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import type { NatMapping } from '../../src/resources/nat-mappings/schema.ts'
import { assignNatMappings, removeNatMappings } from '../../src/resources/nat-mappings/store.ts'
import { expectProblem, expectStatus, useApi } from '../helpers/api.ts'
import { useClock } from '../helpers/clock.ts'

const api = useApi()
const clock = useClock(api)

let inside: Block
let locals: Allocation[]
let globals: Allocation[]

beforeEach(async () => {
  inside = await api.createBlock('10.0.0.0/24')
  locals = await api.allocate(inside, { count: 2 })
  globals = await api.allocate(await api.createBlock('192.0.2.0/24'), { count: 2 })
})

const ask = (local: string | undefined, global: string | undefined) =>
  api.post('/v2/nat-mappings', { inside_local_id: local, inside_global_id: global })
const map = async (local: number, global: number): Promise<NatMapping> =>
  expectStatus(201, await ask(locals[local]?.id, globals[global]?.id))
const list = async (query = '') =>
  expectStatus(200, await api.get(`/v2/nat-mappings?${query}`)).nat_mappings
const pairsOf = (mappings: readonly NatMapping[]) =>
  mappings.map(one => [one.inside_local_address, one.inside_global_address])
const eventsOf = async ({ id }: NatMapping) => {
  const { events } = expectStatus(200, await api.get('/v2/events?limit=1000'))
  return events
    .filter(({ object_id }) => object_id === id)
    .map(({ type, data }) => ({ type, data: data as NatMapping }))
}

describe('a NAT mapping', () => {
  test('joins two allocations until it is deleted', async () => {
    const made = await map(0, 1)
    expect(made).toEqual({
      id: expect.any(String),
      project_id: 'red',
      inside_local_id: locals[0]?.id,
      inside_local_address: '10.0.0.1',
      inside_global_id: globals[1]?.id,
      inside_global_address: '192.0.2.2',
      started_at: expect.any(String),
      ended_at: null,
    })
    const path = `/v2/nat-mappings/${made.id}`
    expect((await api.get(path)).body).toEqual(made)
    expectProblem(await ask(made.inside_local_id, made.inside_global_id), 'nat_mapping_exists', {
      status: 409,
    })
    expect(await api.delete(path)).toMatchObject({ status: 204 })
    expectProblem(await api.delete(path), 'nat_mapping_not_found', { status: 404 })
    const { body: ended } = await api.get(path)
    expect(ended).toEqual({ ...made, ended_at: expect.any(String) })
    expect(await eventsOf(made)).toEqual([
      { type: 'nat_mapping.created', data: made },
      { type: 'nat_mapping.deleted', data: ended },
    ])
    expect(await list()).toEqual([])
    expect(await list('state=ended')).toEqual([ended])
    const again = await map(0, 1)
    expect(await list('state=all')).toEqual([ended, again])
  })

  test('is one of many to many, found from either side', async () => {
    for (const [local, global] of [
      [0, 0],
      [0, 1],
      [1, 0],
    ] as const) {
      await map(local, global)
    }
    const [a, b] = ['10.0.0.1', '10.0.0.2']
    const [x, y] = ['192.0.2.1', '192.0.2.2']
    expect(pairsOf(await list(`inside_local_id=${locals[0]?.id}`))).toEqual([
      [a, x],
      [a, y],
    ])
    expect(pairsOf(await list(`inside_global_id=${globals[0]?.id}`))).toEqual([
      [a, x],
      [b, x],
    ])
    expect(pairsOf(await list(`inside_local_address=${b}`))).toEqual([[b, x]])
    expect(pairsOf(await list(`inside_global_address=${y}`))).toEqual([[a, y]])
    expect(await list('project_id=blue')).toEqual([])
    const pages = await api.pages('nat_mappings', '/v2/nat-mappings?limit=2')
    expect(pages.map(page => page.length)).toEqual([2, 1])
    expectProblem(await api.get('/v2/nat-mappings?marker=x'), 'marker_invalid')
  })

  test('has two sides, which are current allocations', async () => {
    const [local, other] = locals
    const [global] = globals
    const nobody = '00000000-0000-7000-8000-000000000000'
    expectProblem(await ask(local?.id, local?.id), 'invalid_request', { field: 'inside_global_id' })
    expectProblem(await ask(nobody, global?.id), 'allocation_not_found', {
      field: 'inside_local_id',
    })
    await api.release(other as Allocation)
    expectProblem(await ask(other?.id, global?.id), 'allocation_ended', { status: 409 })
    const hold = await api.allocateOne(inside, { lifetime_seconds: 5 })
    await clock.advance(6)
    expectProblem(await ask(hold.id, global?.id), 'hold_expired', { status: 409 })
    expect(await list('state=all')).toEqual([])
  })

  test.each([
    ['local', () => locals],
    ['global', () => globals],
  ])('ends with its %s allocation', async (_side, side) => {
    const made = [await map(0, 0), await map(1, 1)]
    const [first] = side()
    const { ended_at } = await api.release(first as Allocation)
    expect(await list()).toEqual([made[1]])
    expect(await list('state=ended')).toEqual([{ ...made[0], ended_at }])
    expect((await eventsOf(made[0] as NatMapping)).map(({ type }) => type)).toEqual([
      'nat_mapping.created',
      'nat_mapping.deleted',
    ])
  })

  test('ends when both sides are released at once, and when a hold lapses', async () => {
    const hold = await api.allocateOne(inside, { lifetime_seconds: 5 })
    await map(0, 0)
    expectStatus(201, await ask(hold.id, globals[0]?.id))
    const both = [locals[0], globals[1]].map(one => ({ id: one?.id }))
    await map(0, 1)
    expectStatus(200, await api.post('/v2/allocations/release', { allocations: both }))
    expect(pairsOf(await list())).toEqual([[hold.address, '192.0.2.1']])
    await clock.advance(6)
    await clock.sweep()
    expect(await list()).toEqual([])
    expect(await list('state=ended')).toHaveLength(3)
  })
})

describe('many mappings', () => {
  const id = (list: Allocation[], n: number) => (list[n] as Allocation).id
  const pair = (local: number, global: number) => ({
    inside_local_id: id(locals, local),
    inside_global_id: id(globals, global),
  })

  test('are assigned at once, all or none, and those that are there stay', async () => {
    const made = await map(0, 0)
    const added = await assignNatMappings(api.db, [pair(0, 0), pair(0, 1), pair(0, 1)])
    expect(pairsOf(added)).toEqual([['10.0.0.1', '192.0.2.2']])
    expect(await list()).toEqual([made, ...added])
    await api.release(globals[1] as Allocation)
    const refused = assignNatMappings(api.db, [pair(1, 0), pair(1, 1)])
    await expect(refused).rejects.toMatchObject({ code: 'allocation_ended' })
    expect(await list()).toEqual([made])
  })

  test('are removed one by one, or all of a side', async () => {
    await assignNatMappings(api.db, [pair(0, 0), pair(0, 1), pair(1, 0), pair(1, 1)])
    expect(pairsOf(await removeNatMappings(api.db, pair(0, 1)))).toEqual([
      ['10.0.0.1', '192.0.2.2'],
    ])
    expect(await removeNatMappings(api.db, pair(0, 1))).toEqual([])
    const globalSide = { inside_global_id: id(globals, 0) }
    expect(await removeNatMappings(api.db, globalSide)).toHaveLength(2)
    expect(pairsOf(await list())).toEqual([['10.0.0.2', '192.0.2.2']])
    const localSide = { inside_local_id: id(locals, 1) }
    expect(await removeNatMappings(api.db, localSide)).toHaveLength(1)
    expect(await list()).toEqual([])
  })

  test('that are asked for and removed at once leave no half', async () => {
    const work = Array.from({ length: 24 }, (_, n) => {
      if (n % 3 === 0) return removeNatMappings(api.db, { inside_local_id: id(locals, n % 2) })
      if (n % 3 === 1) return removeNatMappings(api.db, { inside_global_id: id(globals, n % 2) })
      return assignNatMappings(api.db, [pair(0, 0), pair(1, 1), pair(1, 0)])
    })
    await Promise.all(work)
    await api.release(locals[0] as Allocation)
    expect((await list()).every(one => one.inside_local_id === id(locals, 1))).toBe(true)
  })
})
