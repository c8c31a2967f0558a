import { describe, expect, test } from 'vitest'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import { expectProblem, expectStatus, useApi } from '../helpers/api.ts'

const api = useApi()
const list = async (query: string) =>
  expectStatus(200, await api.get(`/v2/allocations?${query}`)).allocations
const idsOf = (allocations: readonly { id: string }[]) => allocations.map(({ id }) => id)
const releaseAll = (wish: object) => api.post('/v2/allocations/release', wish)

/** One microsecond earlier; times have six digits of a second. */
const justBefore = (time: string | null): string => {
  const [, seconds = '', micros = ''] = /^(.*)\.(\d{6})Z$/.exec(time ?? '') ?? []
  const total = BigInt(Date.parse(`${seconds}Z`)) * 1000n + BigInt(micros) - 1n
  const whole = new Date(Number(total / 1_000_000n) * 1000).toISOString().slice(0, 19)
  return `${whole}.${String(total % 1_000_000n).padStart(6, '0')}Z`
}

/** Three holders of one address, one after the other; the last still holds it. */
async function holdThrice(): Promise<[Allocation, Allocation, Allocation]> {
  const block = await api.createBlock('10.0.0.0/31')
  const hold = (project_id: string) => api.allocateOne(block, { project_id, address: '10.0.0.0' })
  const first = await api.release(await hold('red'))
  const second = await api.release(await hold('blue'))
  return [first, second, await hold('red')]
}

describe('releasing', () => {
  test('ends the allocation; the record stays, and its address is free (I4)', async () => {
    const block = await api.createBlock('10.0.0.0/32')
    const held = await api.allocateOne(block, { name: 'eth0', owner_id: 'vm-1', tags: ['a'] })
    const ended = await api.release(held)
    expect(ended).toEqual({ ...held, generation: 2, ended_at: expect.any(String) })
    expect((ended.ended_at ?? '') > held.started_at).toBe(true)
    expect((await api.get(`/v2/allocations/${held.id}`)).body).toEqual(ended)
    expect(await api.allocateOne(block)).toMatchObject({ address: '10.0.0.0' })
  })

  test('twice gives the same answer twice, and one event', async () => {
    const held = await api.allocateOne(await api.createBlock('10.0.0.0/24'))
    const path = `/v2/allocations/${held.id}`
    const answers = await Promise.all([api.delete(path), api.delete(path)])
    answers.push(await api.delete(path), await api.delete(`${path}?generation=1`))
    for (const { body } of answers) expect(body).toEqual(answers[0]?.body)
    const { body } = await api.get('/v2/events?type=allocation.released')
    expect(body.events).toHaveLength(1)
  })

  test('on condition of a generation happens only if it has it', async () => {
    const held = await api.allocateOne(await api.createBlock('10.0.0.0/24'))
    const path = `/v2/allocations/${held.id}`
    await api.patch(path, { name: 'eth0' })
    expectProblem(await api.delete(`${path}?generation=1`), 'generation_mismatch', { status: 409 })
    expect((await api.get(path)).body.ended_at).toBeNull()
    expect((await api.delete(`${path}?generation=2`)).body).toMatchObject({ generation: 3 })
    expectProblem(await api.delete(`${path}?generation=1`), 'generation_mismatch')
    for (const odd of ['0', 'x', '99999999999']) {
      const facts = { field: 'generation' }
      expectProblem(await api.delete(`${path}?generation=${odd}`), 'invalid_request', facts)
    }
    const nobody = '/v2/allocations/01900000-0000-7000-8000-000000000000'
    expectProblem(await api.delete(nobody), 'allocation_not_found', { status: 404 })
    expectProblem(await api.get(nobody), 'allocation_not_found')
  })

  test('late never frees the address of a newer holder (I5)', async () => {
    const [first, second, third] = await holdThrice()
    expect(await api.release(first)).toEqual(first)
    await api.delete(`/v2/allocations/${second.id}?generation=1`)
    await releaseAll({ project_id: 'blue', owner_id: 'vm-1' })
    expect(await list('scope_id=public&address=10.0.0.0')).toEqual([third])
  })

  test('of a list is all or none (I12)', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    const held = await api.allocate(block, { count: 3 })
    const wish = held.map(({ id }) => ({ id, generation: 1 }))
    const ghost = { id: '01900000-0000-7000-8000-000000000000' }
    const withGhost = await releaseAll({ allocations: [...wish, ghost] })
    expectProblem(withGhost, 'allocation_not_found', { status: 404 })
    const stale = await releaseAll({ allocations: [{ ...wish[0], generation: 9 }, wish[1]] })
    expectProblem(stale, 'generation_mismatch', { status: 409 })
    expect(await list('')).toEqual(held)
    const { body } = await releaseAll({ allocations: wish.toReversed() })
    expect(idsOf(body.allocations)).toEqual(idsOf(held).toReversed())
    expect(await list('')).toEqual([])
    expect(await api.freeRanges(block)).toEqual(['10.0.0.1-10.0.0.254'])
  })

  test('by owner takes all that the owner holds in a project, of a type, in a block', async () => {
    const [a, b] = [await api.createBlock('10.0.0.0/24'), await api.createBlock('::/64')]
    const owner = { project_id: 'red', owner_id: 'vm-1' }
    const kept = [
      await api.allocateOne(a, { ...owner, owner_type: 'router' }),
      await api.allocateOne(a, { ...owner, project_id: 'blue' }),
      await api.allocateOne(a, { ...owner, owner_id: 'vm-2' }),
    ]
    const inBlock = await api.allocateOne(b, { ...owner, owner_type: 'instance' })
    const others = await api.allocate(a, { ...owner, owner_type: 'instance', count: 3 })
    const release = async (wish: object) => idsOf((await releaseAll(wish)).body.allocations)
    expect(await release({ ...owner, block_id: b.id })).toEqual([inBlock.id])
    expect(await release({ ...owner, owner_type: 'instance' })).toEqual(idsOf(others))
    expect(await release({ ...owner, owner_type: 'instance' })).toEqual([])
    expect(idsOf(await list(''))).toEqual(idsOf(kept))
  })

  test.each([
    {},
    { project_id: 'red' },
    { owner_id: 'vm-1' },
    { allocations: [{ id: '01900000-0000-7000-8000-000000000000' }], project_id: 'red' },
  ])('needs to know just what: %j is refused', async wish => {
    expectProblem(await releaseAll(wish), 'invalid_request', { field: 'allocations' })
  })
})

describe('point in time', () => {
  test('says who held an address at a time, from its start up to its end', async () => {
    const [first, second, third] = await holdThrice()
    const at = async (time: string | null) =>
      idsOf(await list(`scope_id=public&address=10.0.0.0&at=${time}`))
    expect(await at(justBefore(first.started_at))).toEqual([])
    expect(await at(first.started_at)).toEqual([first.id])
    expect(await at(justBefore(first.ended_at))).toEqual([first.id])
    expect(await at(first.ended_at)).toEqual([])
    expect(await at(second.started_at)).toEqual([second.id])
    expect(await at(justBefore(second.ended_at))).toEqual([second.id])
    expect(await at(third.started_at)).toEqual([third.id])
    expect(await at('2999-01-01T00:00:00Z')).toEqual([third.id])
    const local = third.started_at.replace('Z', '%2B00:00').toLowerCase()
    expect(await at(local)).toEqual([third.id])
  })

  test('says all that a project held between two times', async () => {
    const [first, second, third] = await holdThrice()
    const held = async (query: string) => idsOf(await list(`project_id=red&${query}`))
    const everything = [first.id, third.id]
    expect(await held(`held_from=${first.started_at}`)).toEqual(everything)
    expect(await held(`held_to=${third.started_at}`)).toEqual([first.id])
    expect(await held(`held_from=${first.ended_at}`)).toEqual([third.id])
    expect(await held(`held_from=${justBefore(first.ended_at)}`)).toEqual(everything)
    expect(await held(`held_from=${second.started_at}&held_to=${second.ended_at}`)).toEqual([])
    expect(await held('held_from=2000-01-01T00:00:00Z&held_to=2999-01-01T00:00:00Z')).toEqual(
      everything,
    )
  })

  test('is answered also after the block was deleted (I4)', async () => {
    const parent = await api.createBlock('2001:db8::/32')
    const [block] = await api.cut(parent, { prefix_length: 64 })
    if (!block) throw new Error('no block')
    const held = await api.release(await api.allocateOne(block, { owner_id: 'vm-1' }))
    const prefix = await api.release(await api.allocateOne(block, { prefix_length: 96 }))
    await api.delete(`/v2/blocks/${block.id}`)
    await api.delete(`/v2/blocks/${parent.id}`)
    const at = (address: string, time: string) =>
      list(`scope_id=public&address=${address}&at=${time}`)
    expect(await at(held.address, held.started_at)).toEqual([held])
    expect(await at(prefix.address.replace('/96', '9'), prefix.started_at)).toEqual([prefix])
    for (const query of [`block_id=${block.id}`, 'owner_id=vm-1', `address=${held.address}`]) {
      expect(await list(`${query}&state=all`)).toContainEqual(held)
    }
    expect((await api.get(`/v2/allocations/${held.id}`)).body).toEqual(held)
  })

  test('goes by microseconds, whoever is fast', async () => {
    const block = await api.createBlock('10.0.0.0/32')
    for (let round = 0; round < 20; round++) await api.release(await api.allocateOne(block))
    const held = await list('address=10.0.0.0&state=ended')
    expect(held).toHaveLength(20)
    for (const [index, one] of held.entries()) {
      expect(one.started_at < String(one.ended_at)).toBe(true)
      expect(one.started_at > (held[index - 1]?.ended_at ?? '')).toBe(true)
      expect(await list(`address=10.0.0.0&at=${one.started_at}`)).toEqual([one])
    }
  })

  test.each(['yesterday', '2026-01-01', '2026-13-01T00:00:00Z', '2026-02-30T00:00:00Z', ''])(
    '%j is refused: it is no time',
    async time => {
      for (const field of ['at', 'held_from', 'held_to']) {
        const answer = await api.get(`/v2/allocations?${field}=${time}`)
        expectProblem(answer, 'invalid_request', { status: 400, field })
      }
    },
  )
})

describe('looking up', () => {
  test('by owner, block, project, name, tags, CIDR and state', async () => {
    const [a, b] = [await api.createBlock('10.0.0.0/24'), await api.createBlock('10.0.1.0/24')]
    const owner = { owner_type: 'instance', owner_id: 'vm-1' }
    const one = await api.allocateOne(a, { ...owner, name: 'eth0', tags: ['x', 'y'] })
    const two = await api.allocateOne(b, { project_id: 'blue', owner_id: 'vm-1', tags: ['x'] })
    const gone = await api.release(await api.allocateOne(a, { owner_id: 'vm-2', tags: ['x'] }))
    const cases: [string, Allocation[]][] = [
      ['owner_id=vm-1', [one, two]],
      ['owner_id=vm-1&owner_type=instance', [one]],
      [`block_id=${b.id}`, [two]],
      ['project_id=blue', [two]],
      ['project_id=red', [one]],
      ['name=eth0', [one]],
      ['tag=x', [one, two]],
      ['tag=x&tag=y', [one]],
      ['within=10.0.0.0/23', [one, two]],
      ['within=10.0.1.0/24&scope_id=public', [two]],
      ['address=10.0.0.1', [one]],
      ['state=ended', [gone]],
      ['state=all', [one, two, gone]],
      ['state=all&owner_id=vm-2', [gone]],
      ['state=ended&tag=x&project_id=red', [gone]],
      ['scope_id=00000000-0000-0000-0000-00000000000f', []],
    ]
    for (const [query, expected] of cases)
      expect([query, await list(query)]).toEqual([query, expected])
  })

  test('finds the holder of an address in the scope that is named', async () => {
    const { body: scope } = await api.post('/v2/address-scopes', { project_id: 'red', name: 'lab' })
    const mine = await api.allocateOne(await api.createBlock('10.0.0.0/24', { scope_id: scope.id }))
    const shared = await api.allocateOne(await api.createBlock('10.0.0.0/24'))
    expect(await list(`scope_id=${scope.id}&address=10.0.0.1`)).toEqual([mine])
    expect(await list('scope_id=public&address=10.0.0.1')).toEqual([shared])
    expect(await list('address=10.0.0.1')).toEqual([mine, shared])
  })
})
