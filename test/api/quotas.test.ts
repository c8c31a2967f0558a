import type { Static } from 'typebox'
import { describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { AllocationRequest } from '../../src/resources/allocations/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import type { ProjectQuota, Quota, QuotaRequest } from '../../src/resources/quotas/schema.ts'
import { type Answer, expectProblem, expectStatus, useApi } from '../helpers/api.ts'

const api = useApi()
const nowhere = '01900000-0000-7000-8000-000000000000'

const limit = async (project: string, limits: QuotaRequest): Promise<Quota> => {
  const { status, body } = await api.put(`/v2/quotas/${project}`, limits)
  expect(status).toBe(200)
  return body as unknown as Quota
}
const quotaOf = async (project: string, query = ''): Promise<Static<typeof ProjectQuota>> => {
  const { status, body } = await api.get(`/v2/quotas/${project}${query}`)
  expect(status).toBe(200)
  return body as unknown as Static<typeof ProjectQuota>
}
const used = async (project: string) => {
  const { allocations, ipv6_64s, blocks } = await quotaOf(project)
  return { allocations: allocations.used, ipv6_64s: ipv6_64s.used, blocks: blocks.used }
}
const createScope = async (name: string) =>
  expectStatus(201, await api.post('/v2/address-scopes', { project_id: 'red', name }))
const eventsOf = async (type: string) =>
  expectStatus(200, await api.get(`/v2/events?type=${type}`)).events
/** What the answer to a request that passes a limit says. */
const refusalOf = (answer: Answer) => {
  expectProblem(answer, 'quota_exceeded', { status: 409 })
  return answer.body.detail
}
/** The status of each of several requests, sent one after the other. */
const statuses = async (block: Block, requests: readonly Partial<AllocationRequest>[]) => {
  const found: number[] = []
  for (const request of requests) found.push((await api.ask(block, request)).status)
  return found
}

describe('the limits of a project', () => {
  test('are none, and nothing is used, of a project that nobody has heard of', async () => {
    const none = { limit: null, limit_from: null, used: 0 }
    expect(await quotaOf('red')).toEqual({
      project_id: 'red',
      allocations: none,
      ipv6_64s: { ...none, used: '0' },
      blocks: none,
      floating_ips: none,
      interfaces: none,
      own_generation: null,
      address_scopes: [],
      next_marker: null,
      links: [],
    })
  })

  test('are shown as they were set, beside what is used', async () => {
    const block = await api.createBlock('2001:db8::/32', { project_id: 'red' })
    await api.allocate(block, { count: 3 })
    await api.allocate(block, { prefix_length: 56 })
    const set = await limit('red', { allocations: 10, ipv6_64s: 512, blocks: 2 })
    expect(set).toEqual({
      id: expect.any(String),
      project_id: 'red',
      scope_id: null,
      allocations: 10,
      ipv6_64s: '512',
      blocks: 2,
      floating_ips: null,
      interfaces: null,
      generation: 1,
      created_at: expect.any(String),
      updated_at: expect.any(String),
    })
    const unlimited = { limit: null, limit_from: null }
    expect(await quotaOf('red')).toEqual({
      project_id: 'red',
      allocations: { limit: 10, limit_from: 'own', used: 4 },
      ipv6_64s: { limit: '512', limit_from: 'own', used: '256' },
      blocks: { limit: 2, limit_from: 'own', used: 1 },
      floating_ips: { ...unlimited, used: 0 },
      interfaces: { ...unlimited, used: 0 },
      own_generation: 1,
      address_scopes: [
        {
          scope_id: block.scope_id,
          allocations: { ...unlimited, used: 4 },
          ipv6_64s: { ...unlimited, used: '256' },
          blocks: { ...unlimited, used: 1 },
          floating_ips: { ...unlimited, used: 0 },
          own_generation: null,
        },
      ],
      next_marker: null,
      links: [],
    })
  })

  test('change one by one: what is not named stays, null removes', async () => {
    const first = await limit('red', { allocations: 10, blocks: 2 })
    const second = await limit('red', { allocations: 7, ipv6_64s: '18446744073709551616' })
    expect(second).toEqual({
      ...first,
      allocations: 7,
      ipv6_64s: '18446744073709551616',
      generation: 2,
      updated_at: expect.any(String),
    })
    expect(second.updated_at > first.updated_at).toBe(true)
    expect(await limit('red', { blocks: null })).toMatchObject({
      ...{ allocations: 7, blocks: null, generation: 3 },
    })
  })

  test('are changed and forgotten only as they are known, if a tag is named', async () => {
    const put = (allocations: number, tag: string) =>
      api.request('PUT', '/v2/quotas/red', { allocations }, { 'if-match': tag })
    const forget = (tag: string) =>
      api.request('DELETE', '/v2/quotas/red', undefined, { 'if-match': tag })
    expectProblem(await put(1, '"1"'), 'precondition_failed', { status: 412 })
    await limit('red', { allocations: 1 })
    expect((await put(2, '"1"')).headers.etag).toBe('"2"')
    for (const answer of [await put(3, '"1"'), await forget('"1"')]) {
      expectProblem(answer, 'precondition_failed')
    }
    expect(await quotaOf('red')).toMatchObject({ allocations: { limit: 2 }, own_generation: 2 })
    expectStatus(204, await forget('"2"'))
  })

  test('are set once where the same request is sent again', async () => {
    const again = () =>
      api.request('PUT', '/v2/quotas/red', { allocations: 1 }, { 'idempotency-key': 'k' })
    const first = await again()
    await limit('red', { allocations: 2 })
    expect((await again()).body).toEqual(first.body)
    expect(await quotaOf('red')).toMatchObject({ allocations: { limit: 2 }, own_generation: 2 })
  })

  test('come, change and go with their events', async () => {
    const first = await limit('red', { allocations: 10 })
    const second = await limit('red', { allocations: 11 })
    expectStatus(204, await api.delete('/v2/quotas/red'))
    const third = await limit('red', { blocks: 1 })
    expect(third).toMatchObject({ allocations: null, generation: 1 })
    expect(third.id).not.toBe(first.id)
    const event = { object_id: first.id, project_id: 'red' }
    expect(await eventsOf('quota.updated')).toMatchObject([
      { ...event, data: first },
      { ...event, data: second },
      { object_id: third.id, data: third },
    ])
    expect(await eventsOf('quota.deleted')).toMatchObject([{ ...event, data: second }])
  })

  test('are those of `default` where it has none of its own', async () => {
    await limit('default', { allocations: 2, blocks: 5 })
    await limit('red', { allocations: 3 })
    const block = await api.createBlock('10.0.0.0/24')
    expect(await quotaOf('red')).toMatchObject({
      allocations: { limit: 3, limit_from: 'own', used: 0 },
      blocks: { limit: 5, limit_from: 'default', used: 0 },
      ipv6_64s: { limit: null, limit_from: null, used: '0' },
    })
    expect(await quotaOf('blue')).toMatchObject({
      allocations: { limit: 2, limit_from: 'default' },
      own_generation: null,
    })
    expect(await statuses(block, Array(4).fill({}))).toEqual([201, 201, 201, 409])
    for (const project_id of ['blue', 'green']) {
      expect(await statuses(block, Array(3).fill({ project_id }))).toEqual([201, 201, 409])
    }
    await limit('red', { allocations: null })
    expect(refusalOf(await api.ask(block))).toBe(
      'Project red has 3 of 2 allocations, and asked for 1 more.',
    )
  })

  test('that are forgotten leave those of `default`', async () => {
    await limit('default', { allocations: 1 })
    await limit('red', { allocations: 5 })
    const block = await api.createBlock('10.0.0.0/24')
    await api.allocate(block, { count: 2 })
    expectStatus(204, await api.delete('/v2/quotas/red'))
    refusalOf(await api.ask(block))
    expectStatus(204, await api.delete('/v2/quotas/default'))
    await api.allocate(block)
    for (const gone of ['red', 'default']) {
      expectProblem(await api.delete(`/v2/quotas/${gone}`), 'quota_not_found', { status: 404 })
    }
  })

  test('of `default` are shown like those of a project, which uses nothing', async () => {
    const { generation } = await limit('default', { allocations: 2 })
    expect(await quotaOf('default')).toMatchObject({
      project_id: 'default',
      allocations: { limit: 2, limit_from: 'default', used: null },
      blocks: { limit: null, limit_from: null, used: null },
      own_generation: generation,
    })
    expect((await eventsOf('quota.updated'))[0]).toMatchObject({
      project_id: null,
      data: { project_id: null },
    })
  })
})

describe('a limit of allocations', () => {
  test('is reached exactly, and a release makes room', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    await limit('red', { allocations: 5 })
    const [first] = await api.allocate(block, { count: 4 })
    expect(refusalOf(await api.ask(block, { count: 2 }))).toBe(
      'Project red has 4 of 5 allocations, and asked for 2 more.',
    )
    await api.allocateOne(block)
    expect(refusalOf(await api.ask(block))).toBe(
      'Project red has 5 of 5 allocations, and asked for 1 more.',
    )
    await api.allocate(block, { project_id: 'blue' })
    if (!first) throw new Error('nothing was allocated')
    await api.release(first)
    await api.allocateOne(block)
    refusalOf(await api.ask(block))
    expect(await used('red')).toEqual({ allocations: 5, ipv6_64s: '0', blocks: 0 })
  })

  test('counts whatever kind is asked for', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    const kinds: Partial<AllocationRequest>[] = [
      {},
      { address: '10.0.0.9' },
      { address: '10.0.0.9', fallback: 'next' },
      { count: 2 },
      { count: 2, contiguous: true },
      { prefix_length: 28 },
      { lifetime_seconds: 3600 },
      { owner_id: 'vm', one_per_owner: true },
    ]
    await limit('red', { allocations: 0 })
    expect(await statuses(block, kinds)).toEqual(kinds.map(() => 409))
    expect((await api.utilisation(block)).allocated).toBe('0')
    await limit('red', { allocations: 10 })
    expect(await statuses(block, kinds)).toEqual(kinds.map(() => 201))
    expect(await used('red')).toMatchObject({ allocations: 10 })
    expect(await statuses(block, kinds.slice(0, -1))).toEqual(kinds.slice(1).map(() => 409))
    // The owner has it already, so nothing more is taken.
    expect(await statuses(block, kinds.slice(-1))).toEqual([201])
  })

  test('of nothing lets nothing through, and a limit far away everything', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    await limit('red', { allocations: 0 })
    refusalOf(await api.ask(block))
    await limit('red', { allocations: Number.MAX_SAFE_INTEGER })
    await api.allocate(block, { count: 200 })
  })

  test('below what is used takes nothing away, and gives nothing more', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    const held = await api.allocate(block, { count: 5 })
    await limit('red', { allocations: 3 })
    expect(await quotaOf('red')).toMatchObject({ allocations: { limit: 3, used: 5 } })
    for (const one of held.slice(0, 2)) {
      refusalOf(await api.ask(block))
      await api.release(one)
    }
    expect(refusalOf(await api.ask(block))).toContain('has 3 of 3')
    await api.release(held[2] ?? { id: nowhere })
    await api.allocateOne(block)
    refusalOf(await api.ask(block))
  })

  test('holds among requests that are made at the same time', async () => {
    const blocks = [await api.createBlock('10.0.0.0/24'), await api.createBlock('10.0.1.0/24')]
    await limit('red', { allocations: 10 })
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, n) =>
        api.ask(blocks[n % 2] as Block, n % 5 === 0 ? { count: 3 } : {}),
      ),
    )
    const given = answers.flatMap(({ body }) => body.allocations ?? [])
    expect(given).toHaveLength(10)
    const refused = answers.filter(({ status }) => status !== 201)
    // A detail tells what others of the same batch have been given, too.
    for (const answer of refused) expect(refusalOf(answer)).toMatch(/ has ([89]|10) of 10 alloc/)
    expect(await used('red')).toMatchObject({ allocations: 10 })
  })

  test('is refused to a dry run, too', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    await limit('red', { allocations: 1 })
    expectStatus(200, await api.ask(block, { dry_run: true }))
    refusalOf(await api.ask(block, { dry_run: true, count: 2 }))
    expect(await used('red')).toMatchObject({ allocations: 0 })
  })

  test('does not make a neighbour in the batch fail', async () => {
    const block = await api.createBlock('10.0.0.0/24')
    await limit('red', { allocations: 1 })
    const projects = Array.from({ length: 30 }, (_, n) => (n % 2 === 0 ? 'red' : `blue-${n}`))
    const answers = await Promise.all(projects.map(project_id => api.ask(block, { project_id })))
    const served = projects.filter((_, n) => answers[n]?.status === 201)
    expect(served.filter(project => project !== 'red')).toHaveLength(15)
    expect(served.filter(project => project === 'red')).toHaveLength(1)
  })
})

describe('a limit of IPv6 /64s', () => {
  test('counts what delegated prefixes are, exactly', async () => {
    const block = await api.createBlock('2001:db8::/32')
    await limit('red', { ipv6_64s: 300 })
    await api.allocate(block, { prefix_length: 56 })
    expect(refusalOf(await api.ask(block, { prefix_length: 56 }))).toBe(
      'Project red has 256 of 300 IPv6 /64s, and asked for 256 more.',
    )
    // 16 + 16 + 8 + 4 are the 44 that are left.
    const named = await api.allocateOne(block, { address: '2001:db8:ffff:10::/60' })
    for (const prefix_length of [60, 61, 62]) await api.allocate(block, { prefix_length })
    refusalOf(await api.ask(block, { prefix_length: 64 }))
    refusalOf(await api.ask(block, { address: '2001:db8:ffff::/64' }))
    expect(await used('red')).toEqual({ allocations: 5, ipv6_64s: '300', blocks: 0 })
    await api.release(named)
    expect(await statuses(block, Array(3).fill({ prefix_length: 61 }))).toEqual([201, 201, 409])
  })

  test('counts neither single addresses, longer prefixes nor IPv4', async () => {
    const block = await api.createBlock('2001:db8::/32')
    const block4 = await api.createBlock('10.0.0.0/8')
    await limit('red', { ipv6_64s: 0 })
    refusalOf(await api.ask(block, { prefix_length: 64 }))
    for (const prefix_length of [65, 80, 127]) await api.allocate(block, { prefix_length })
    await api.allocate(block, { count: 4, contiguous: true })
    await api.allocate(block4, { prefix_length: 16 })
    expect(await used('red')).toEqual({ allocations: 8, ipv6_64s: '0', blocks: 0 })
  })

  test('holds where there are more than 2^53 of them', async () => {
    const block = await api.createBlock('::/0')
    await limit('red', { ipv6_64s: String(2n ** 63n + 1n) })
    await api.allocate(block, { prefix_length: 1 })
    expect(await quotaOf('red')).toMatchObject({
      ipv6_64s: { limit: String(2n ** 63n + 1n), used: String(2n ** 63n) },
    })
    refusalOf(await api.ask(block, { prefix_length: 63 }))
    await api.allocate(block, { prefix_length: 64 })
    refusalOf(await api.ask(block, { prefix_length: 64 }))
  })

  test('is counted in numbers that no address scope can pass', async () => {
    for (let n = 0; n < 6; n++) {
      const { id: scope_id } = await createScope(`lab-${n}`)
      const block = await api.createBlock('::/0', { scope_id })
      await api.allocate(block, { address: '::/0' })
    }
    expect(await used('red')).toEqual({
      ...{ allocations: 6, ipv6_64s: String(6n * 2n ** 64n), blocks: 6 },
    })
  })
})

describe('a limit of blocks', () => {
  const create = (cidr: string, settings: object = {}) =>
    api.post('/v2/blocks', { scope_id: 'public', cidr, project_id: 'red', ...settings })

  test('is reached exactly, and a deletion makes room', async () => {
    await limit('red', { blocks: 2 })
    const { id } = expectStatus(201, await create('10.0.0.0/24'))
    expectStatus(201, await create('10.0.1.0/24'))
    expect(refusalOf(await create('10.0.2.0/24'))).toBe(
      'Project red has 2 of 2 blocks, and asked for 1 more.',
    )
    expectStatus(201, await create('10.0.2.0/24', { project_id: 'blue' }))
    expectStatus(204, await api.delete(`/v2/blocks/${id}`))
    expectStatus(201, await create('10.0.3.0/24'))
    refusalOf(await create('10.0.4.0/24'))
    expect(await used('red')).toMatchObject({ blocks: 2 })
  })

  test('counts each child, and those of a call together', async () => {
    await limit('red', { blocks: 5 })
    const parent = await api.createBlock('10.0.0.0/16', { project_id: 'red' })
    const cut = (request: object) => api.post(`/v2/blocks/${parent.id}/children`, request)
    expect(refusalOf(await cut({ prefix_length: 24, count: 5 }))).toContain('asked for 5 more')
    refusalOf(await cut({ cidrs: [0, 1, 2, 3, 4].map(n => `10.0.${n}.0/24`) }))
    expect((await api.get(`/v2/blocks?parent_id=${parent.id}`)).body.blocks).toEqual([])
    expectStatus(201, await cut({ prefix_length: 24, count: 3 }))
    expectStatus(201, await cut({ cidrs: ['10.0.9.0/24'] }))
    refusalOf(await cut({ prefix_length: 24 }))
    expectStatus(201, await cut({ prefix_length: 24, project_id: 'blue' }))
  })

  test('counts one that is put above others, and those no other', async () => {
    await limit('red', { blocks: 3 })
    expectStatus(201, await create('10.0.0.0/24'))
    expectStatus(201, await create('10.0.1.0/24'))
    expectStatus(201, await create('10.0.0.0/16', { adopt_children: true }))
    refusalOf(await create('10.0.0.0/8', { adopt_children: true }))
    expect(await used('red')).toMatchObject({ blocks: 3 })
  })

  test('does not reach what belongs to nobody', async () => {
    await limit('default', { blocks: 0 })
    await api.createBlock('10.0.0.0/24')
    refusalOf(await create('10.0.1.0/24'))
  })

  test('holds among blocks that are made at the same time', async () => {
    await limit('red', { blocks: 4 })
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, n) => create(`10.0.${n}.0/24`)),
    )
    const made = answers.filter(({ status }) => status === 201)
    expect(made).toHaveLength(4)
    expect(await used('red')).toMatchObject({ blocks: 4 })
  })
})

describe('in an address scope', () => {
  test('a limit is one of its own, beside the one in all', async () => {
    const scope = await createScope('lab')
    await limit('red', { allocations: 3 })
    expect(await limit('red', { scope_id: scope.id, allocations: 2, blocks: 1 })).toMatchObject({
      ...{ scope_id: scope.id, allocations: 2, blocks: 1, generation: 1 },
    })
    const lab = await api.createBlock('10.0.0.0/24', { scope_id: scope.id })
    const other = await api.createBlock('10.0.0.0/24')
    expect(
      refusalOf(await api.post('/v2/blocks', { scope_id: scope.id, cidr: '10.0.1.0/24' })),
    ).toBe('Project red has 1 of 1 blocks in the address scope lab, and asked for 1 more.')
    await api.allocate(lab, { count: 2 })
    expect(refusalOf(await api.ask(lab))).toBe(
      'Project red has 2 of 2 allocations in the address scope lab, and asked for 1 more.',
    )
    await api.allocate(other)
    expect(refusalOf(await api.ask(other))).toBe(
      'Project red has 3 of 3 allocations, and asked for 1 more.',
    )
    expect(await quotaOf('red')).toMatchObject({
      allocations: { limit: 3, limit_from: 'own', used: 3 },
      blocks: { limit: null, used: 1 },
      address_scopes: [
        { scope_id: other.scope_id, allocations: { limit: null, used: 1 }, own_generation: null },
        {
          scope_id: scope.id,
          allocations: { limit: 2, limit_from: 'own', used: 2 },
          blocks: { limit: 1, limit_from: 'own', used: 1 },
          own_generation: 1,
        },
      ],
    })
  })

  test('the default limit is that of every project without its own there', async () => {
    await limit('default', { scope_id: 'public', allocations: 1 })
    await limit('red', { allocations: 9 })
    await limit('blue', { scope_id: 'public', allocations: 2 })
    const block = await api.createBlock('10.0.0.0/24')
    expect(await statuses(block, [{}, {}])).toEqual([201, 409])
    const blue = Array(3).fill({ project_id: 'blue' })
    expect(await statuses(block, blue)).toEqual([201, 201, 409])
    const [scope] = (await quotaOf('green')).address_scopes
    expect(scope).toMatchObject({ allocations: { limit: 1, limit_from: 'default', used: 0 } })
  })

  test('limits are forgotten without those in all', async () => {
    await limit('red', { allocations: 5 })
    await limit('red', { scope_id: 'public', allocations: 5 })
    expectStatus(204, await api.delete('/v2/quotas/red?scope_id=public'))
    const gone = await api.delete('/v2/quotas/red?scope_id=public')
    expectProblem(gone, 'quota_not_found')
    expect(await quotaOf('red')).toMatchObject({ allocations: { limit: 5 }, address_scopes: [] })
  })

  test('limits go with the scope, and tell so', async () => {
    const { id: scope_id } = await createScope('lab')
    const own = await limit('red', { scope_id, allocations: 5 })
    const common = await limit('default', { scope_id, allocations: 5 })
    await limit('red', { allocations: 5 })
    expectStatus(204, await api.delete(`/v2/address-scopes/${scope_id}`))
    const { events } = expectStatus(200, await api.get('/v2/events'))
    expect(events.slice(-3).map(({ type }) => type)).toEqual([
      ...['quota.deleted', 'quota.deleted', 'address_scope.deleted'],
    ])
    const told = events.slice(-3, -1).map(({ object_id }) => object_id)
    expect(told.toSorted()).toEqual([own.id, common.id].toSorted())
    const { quotas } = (await api.get('/v2/quotas')).body as unknown as { quotas: Quota[] }
    expect(quotas).toMatchObject([{ project_id: 'red', scope_id: null }])
  })

  test('a scope with blocks keeps its limits', async () => {
    const { id: scope_id } = await createScope('lab')
    await limit('red', { scope_id, allocations: 0 })
    const block = await api.createBlock('10.0.0.0/24', { scope_id })
    const refused = await api.delete(`/v2/address-scopes/${scope_id}`)
    expectProblem(refused, 'address_scope_not_empty')
    refusalOf(await api.ask(block))
  })

  test('one alone can be shown, and many are shown in pages', async () => {
    const ids: string[] = []
    for (let n = 0; n < 5; n++) {
      const { id: scope_id } = await createScope(`lab-${n}`)
      await limit(n % 2 ? 'red' : 'default', { scope_id, allocations: n })
      ids.push(scope_id)
    }
    const { id: bare } = await createScope('bare')
    const scopesOf = (page: Static<typeof ProjectQuota>) =>
      page.address_scopes.map(({ scope_id }) => scope_id)
    const first = await quotaOf('red', '?limit=3')
    expect(first).toMatchObject({ project_id: 'red', allocations: { used: 0 } })
    const second = await quotaOf('red', `?limit=3&marker=${first.next_marker}`)
    expect(second).toMatchObject({ next_marker: null, links: [] })
    expect([...scopesOf(first), ...scopesOf(second)]).toEqual(ids.toSorted())
    expect(scopesOf(await quotaOf('red', `?scope_id=${bare}`))).toEqual([bare])
    expect(scopesOf(await quotaOf('red', `?scope_id=${ids[1]}`))).toEqual([ids[1]])
    expect(scopesOf(await quotaOf('red', '?scope_id=public'))).toHaveLength(1)
  })
})

describe('an address of a network', () => {
  const createNetwork = async () => {
    const { id } = expectStatus(201, await api.post('/v2/networks', {}))
    await api.createBlock('10.0.0.0/24', { network_id: id })
    await api.createBlock('2001:db8::/64', { network_id: id })
    return id
  }
  const ask = (network_id: string, wish: object = {}) =>
    api.post('/v2/allocations', { network_id, project_id: 'red', families: [4, 6], ...wish })

  test('of both IP versions is two, and all or nothing', async () => {
    const network = await createNetwork()
    await limit('red', { allocations: 3 })
    expectStatus(201, await ask(network))
    expect(refusalOf(await ask(network))).toBe(
      'Project red has 2 of 3 allocations, and asked for 2 more.',
    )
    expect(await used('red')).toMatchObject({ allocations: 2 })
    expectStatus(201, await ask(network, { families: [6] }))
    refusalOf(await ask(network, { families: [4] }))
  })

  test('is given for one of them where that is enough', async () => {
    const network = await createNetwork()
    await limit('red', { allocations: 3 })
    expect(expectStatus(201, await ask(network, { partial: true })).allocations).toHaveLength(2)
    expect(expectStatus(201, await ask(network, { partial: true })).allocations).toHaveLength(1)
    refusalOf(await ask(network, { partial: true }))
  })

  test('is counted in the address scope of each subnet', async () => {
    const { id: network_id } = expectStatus(201, await api.post('/v2/networks', {}))
    const { id: scope_id } = await createScope('lab')
    await api.createBlock('10.0.0.0/24', { network_id, scope_id })
    await api.createBlock('2001:db8::/64', { network_id })
    await limit('red', { scope_id: 'public', allocations: 1 })
    expectStatus(201, await ask(network_id))
    expect(refusalOf(await ask(network_id))).toBe(
      'Project red has 1 of 1 allocations in the address scope public, and asked for 1 more.',
    )
    expect(expectStatus(201, await ask(network_id, { families: [4] })).allocations).toHaveLength(1)
    expect(await used('red')).toMatchObject({ allocations: 3 })
  })
})

describe('limits are listed', () => {
  test('by project and scope, in pages', async () => {
    const { id: scope_id } = await createScope('lab')
    const all = [
      await limit('default', { allocations: 1 }),
      await limit('default', { scope_id, allocations: 2 }),
      await limit('red', { allocations: 3 }),
      await limit('red', { scope_id, allocations: 4 }),
      await limit('blue', { scope_id: 'public', blocks: 5 }),
    ]
    const list = async (query: string) => {
      const { status, body } = await api.get(`/v2/quotas?${query}`)
      expect(status).toBe(200)
      return body as unknown as { quotas: Quota[]; links: { href: string }[] }
    }
    expect((await list('')).quotas).toEqual(all)
    expect((await list('project_id=default')).quotas).toEqual(all.slice(0, 2))
    expect((await list('project_id=red')).quotas).toEqual(all.slice(2, 4))
    expect((await list(`scope_id=${scope_id}`)).quotas).toEqual([all[1], all[3]])
    expect((await list('scope_id=public')).quotas).toEqual([all[4]])
    const first = await list('limit=3')
    const rest = (await api.get(first.links[0]?.href ?? '')).body as unknown as typeof first
    expect([...first.quotas, ...rest.quotas]).toEqual(all)
    expect(rest.links).toEqual([])
  })
})

describe('what is not well formed is refused', () => {
  test.each([
    ['nothing to set', {}, 'body'],
    ['nothing but a scope', { scope_id: 'public' }, 'body'],
    ['less than nothing', { allocations: -1 }, 'allocations'],
    ['a half', { blocks: 1.5 }, 'blocks'],
    ['a text for a number', { allocations: '5' }, 'allocations'],
    ['more than a number holds', { allocations: 2 ** 53 }, 'allocations'],
    ['more than there are', { ipv6_64s: '100000000000000000000' }, 'ipv6_64s'],
    ['a leading zero', { ipv6_64s: '010' }, 'ipv6_64s'],
    ['an unknown kind', { addresses: 5 }, 'addresses'],
    ['no scope', { scope_id: 'lab', allocations: 5 }, 'scope_id'],
  ])('%s', async (_what, body, field) => {
    const answer = await api.put('/v2/quotas/red', body)
    expectProblem(answer, 'invalid_request', { status: 400, field })
    expect((await api.get('/v2/quotas')).body).toMatchObject({ quotas: [] })
  })

  test('a scope beside the body, where it would be passed over', async () => {
    const answer = await api.put('/v2/quotas/red?scope_id=public', { allocations: 5 })
    expectProblem(answer, 'invalid_request', { field: 'scope_id' })
  })

  test('a scope that is not there', async () => {
    const answers = [
      await api.put('/v2/quotas/red', { scope_id: nowhere, allocations: 5 }),
      await api.get(`/v2/quotas/red?scope_id=${nowhere}`),
    ]
    for (const answer of answers) expectProblem(answer, 'address_scope_not_found', { status: 404 })
    const gone = await api.delete(`/v2/quotas/red?scope_id=${nowhere}`)
    expectProblem(gone, 'quota_not_found')
  })

  test('a marker of another list', async () => {
    for (const path of ['/v2/quotas', '/v2/quotas/red']) {
      expectProblem(await api.get(`${path}?marker=abc`), 'marker_invalid', { status: 400 })
    }
  })
})

test('whatever changes a block or its owner, the counts stay true', async () => {
  const block = await api.createBlock('10.0.0.0/24', { project_id: 'red' })
  await api.db.query(sql`update blocks set project_id = 'blue' where id = ${block.id}`)
  expect([await used('red'), await used('blue')]).toMatchObject([{ blocks: 0 }, { blocks: 1 }])
  await api.db.query(sql`update blocks set project_id = null where id = ${block.id}`)
  expect(await used('blue')).toMatchObject({ blocks: 0 })
  await api.db.query(sql`update blocks set project_id = 'red' where id = ${block.id}`)
  expect(await used('red')).toMatchObject({ blocks: 1 })
})
