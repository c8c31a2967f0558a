import { Type } from 'typebox'
import { beforeEach, describe, expect, test } from 'vitest'
import { rows } from '../../src/db/database.ts'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Grant, NewGrant } from '../../src/resources/grants/schema.ts'
import { type Answer, expectProblem, expectStatus, useApi } from '../helpers/api.ts'
import { createMacRange } from '../helpers/macs.ts'

// I15. The project red owns, blue is let in, green is not.

const api = useApi()
let tokens: Readonly<Record<string, string>>
beforeEach(async () => {
  const made: Record<string, string> = {}
  for (const project of ['red', 'blue', 'green']) {
    for (const role of ['reader', 'member', 'manager']) {
      const request = { name: `${project} ${role}`, project_id: project, roles: [role] }
      made[request.name] = String(expectStatus(201, await api.post('/v2/tokens', request)).secret)
    }
  }
  tokens = made
})

type Method = 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE'
const as = (who: string, method: Method, url: string, payload?: object): Promise<Answer> =>
  api.send({
    method,
    url,
    headers: { 'x-auth-token': tokens[who.includes(' ') ? who : `${who} member`] },
    ...(payload && { payload }),
  })
const get = (who: string, url: string) => as(who, 'GET', url)
const post = (who: string, url: string, payload: object) => as(who, 'POST', url, payload)

/** A block of the project red. */
const newBlock = async (cidr = '10.0.0.0/24', more: object = {}) => {
  const { id: scope_id } = expectStatus(
    201,
    await api.post('/v2/address-scopes', { project_id: 'red', name: `of ${cidr}` }),
  )
  return api.createBlock(cidr, { scope_id, project_id: 'red', ...more })
}
const newNetwork = async (project_id = 'red') =>
  String(expectStatus(201, await api.post('/v2/networks', { project_id })).id)

async function grant(request: Partial<NewGrant>, who = 'red'): Promise<Grant> {
  const answer = await post(who, '/v2/grants', { project_id: 'blue', ...request })
  return expectStatus(201, answer) as unknown as Grant
}
const revoke = async ({ id }: Pick<Grant, 'id'>) =>
  expectStatus(204, await as('red', 'DELETE', `/v2/grants/${id}`))
const limit = async ({ id }: Grant, allocations_max: number | null) =>
  expectStatus(200, await as('red', 'PATCH', `/v2/grants/${id}`, { allocations_max }))
const allocate = (who: string, request: object) => post(who, '/v2/allocations', request)
const take = async (who: string, request: object): Promise<Allocation[]> =>
  expectStatus(201, await allocate(who, request)).allocations
const takeOne = async (who: string, request: object) => (await take(who, request))[0] as Allocation
const usageOf = async (who: string, { id }: Grant) =>
  expectStatus(200, await get(who, `/v2/grants/${id}/usage`)).usage
const GrantId = Type.Object({ grant_id: Type.Union([Type.String(), Type.Null()]) })
/** The grant under which an allocation was taken; null if it took none. */
const grantOf = async ({ id }: Pick<Allocation, 'id'>) => {
  const [found] = await rows(api.db, GrantId)`select grant_id from allocations where id = ${id}`
  return found?.grant_id
}

describe('a grant', () => {
  test('of a block lets a project take addresses, and no other', async () => {
    const block_id = (await newBlock()).id
    expectProblem(await allocate('blue', { block_id }), 'block_not_found', { status: 404 })
    const made = await grant({ block_id, description: 'for blue', tags: ['a'] })
    expect(made).toMatchObject({
      block_id,
      network_id: null,
      owner_project_id: 'red',
      project_id: 'blue',
      allocations_max: null,
      description: 'for blue',
      tags: ['a'],
      generation: 1,
    })
    const allocation = await takeOne('blue', { block_id })
    expect(allocation).toMatchObject({ project_id: 'blue', block_id })
    expect(await grantOf(allocation)).toBe(made.id)
    expectProblem(await allocate('green', { block_id }), 'block_not_found')
    // Whoever needs no grant uses none.
    expect(await grantOf(await takeOne('red', { block_id }))).toBe(null)
    expect(await grantOf(await api.allocateOne({ id: block_id }, { project_id: 'blue' }))).toBe(
      null,
    )
    expect(await usageOf('red', made)).toEqual([{ project_id: 'blue', held: '1' }])
  })

  test('lets nobody take addresses for another project, nor with too small a role', async () => {
    const block_id = (await newBlock()).id
    await grant({ block_id })
    expectProblem(await allocate('blue', { block_id, project_id: 'green' }), 'forbidden')
    expectProblem(await allocate('green', { block_id, project_id: 'blue' }), 'block_not_found')
    expectProblem(await allocate('blue reader', { block_id }), 'forbidden')
  })

  test('holds for all below it that is of the same project', async () => {
    const top = await newBlock('10.0.0.0/16')
    const [middle] = await api.cut(top, { prefix_length: 20, count: 1 })
    const [leaf] = await api.cut(middle as never, { prefix_length: 24, count: 1 })
    const [given] = await api.cut(top, { prefix_length: 24, count: 1, project_id: 'green' })
    const made = await grant({ block_id: top.id })
    const allocation = await takeOne('blue', { block_id: leaf?.id })
    expect(await grantOf(allocation)).toBe(made.id)
    expectStatus(200, await get('blue', `/v2/blocks/${middle?.id}`))
    expectProblem(await allocate('blue', { block_id: given?.id }), 'block_not_found')
    expectProblem(await get('blue', `/v2/blocks/${given?.id}`), 'block_not_found')
    await revoke(made)
    const below = await grant({ block_id: String(leaf?.id) })
    expect(await grantOf(await takeOne('blue', { block_id: leaf?.id }))).toBe(below.id)
    expectProblem(await get('blue', `/v2/blocks/${middle?.id}`), 'block_not_found')
  })

  test('of a network holds for the network and its subnets', async () => {
    const network_id = await newNetwork()
    const block = await newBlock('10.0.0.0/24', { network_id })
    const v6 = await newBlock('2001:db8::/64', { network_id })
    expectProblem(await allocate('blue', { network_id, families: [4, 6] }), 'network_not_found')
    const made = await grant({ network_id })
    const both = await take('blue', { network_id, families: [4, 6] })
    expect(both.map(({ block_id }) => block_id)).toEqual([block.id, v6.id])
    expect(await Promise.all(both.map(grantOf))).toEqual([made.id, made.id])
    await take('blue', { block_id: block.id })
    await take('blue', { network_id, address: '10.0.0.77' })
    expectStatus(200, await get('blue', `/v2/blocks/${v6.id}`))
    expect(await usageOf('blue', made)).toEqual([{ project_id: 'blue', held: '4' }])
  })

  test('of one subnet is none of its network', async () => {
    const network_id = await newNetwork()
    const block_id = (await newBlock('10.0.0.0/24', { network_id })).id
    await grant({ block_id })
    await take('blue', { block_id })
    expectProblem(await allocate('blue', { network_id }), 'network_not_found')
    expectProblem(await get('blue', `/v2/networks/${network_id}`), 'network_not_found')
  })

  test('for every project counts for each by itself', async () => {
    const block_id = (await newBlock()).id
    const made = await grant({ block_id, project_id: null, allocations_max: 2 })
    for (const who of ['blue', 'green']) {
      await take(who, { block_id, count: 2 })
      expectProblem(await allocate(who, { block_id }), 'quota_exceeded')
    }
    expect(await usageOf('red', made)).toEqual([
      { project_id: 'blue', held: '2' },
      { project_id: 'green', held: '2' },
    ])
    expect(await usageOf('blue', made)).toEqual([{ project_id: 'blue', held: '2' }])
    // One of its own may let a project have more.
    await grant({ block_id, allocations_max: 3 })
    await take('blue', { block_id })
    expectProblem(await allocate('blue', { block_id }), 'quota_exceeded')
    expectProblem(await allocate('green', { block_id }), 'quota_exceeded')
  })

  test('is made once of a place for a project', async () => {
    const block_id = (await newBlock()).id
    const made = await grant({ block_id })
    const again = await post('red', '/v2/grants', { block_id, project_id: 'blue' })
    expectProblem(again, 'grant_exists', { status: 409 })
    expect(again.body.detail).toContain(made.id)
    await grant({ block_id, project_id: null })
    expectProblem(await post('red', '/v2/grants', { block_id, project_id: null }), 'grant_exists')
    await revoke(made)
    expect((await grant({ block_id })).id).not.toBe(made.id)
  })

  test('is of one place, and not for its owner', async () => {
    const block_id = (await newBlock()).id
    const network_id = await newNetwork()
    const bodies = [
      { project_id: 'blue' },
      { project_id: 'blue', block_id, network_id },
      { project_id: 'red', block_id },
      { block_id },
      { project_id: 'blue', block_id, more: 1 },
    ]
    for (const body of bodies) {
      expectProblem(await post('red', '/v2/grants', body), 'invalid_request')
    }
  })

  test('goes with its block or network, whoever revoked it before', async () => {
    const network_id = await newNetwork()
    const block = await newBlock()
    const made = await grant({ block_id: block.id })
    await revoke(await grant({ block_id: block.id, project_id: 'green' }))
    const other = await grant({ network_id })
    const { cursor } = expectStatus(200, await api.get('/v2/events?after=latest'))
    expectStatus(204, await api.delete(`/v2/blocks/${block.id}`))
    expectStatus(204, await api.delete(`/v2/networks/${network_id}`))
    const { events } = expectStatus(200, await api.get(`/v2/events?after=${cursor}`))
    const told = events.filter(({ type }) => type === 'grant.deleted')
    expect(told.map(({ object_id }) => object_id)).toEqual([made.id, other.id])
    expectProblem(await get('red', `/v2/grants/${made.id}`), 'grant_not_found')
  })
})

describe('revoking', () => {
  test('frees nothing, and stops what is new', async () => {
    const block_id = (await newBlock()).id
    const made = await grant({ block_id })
    const held = await takeOne('blue', { block_id })
    await revoke(made)
    expectProblem(await allocate('blue', { block_id }), 'block_not_found')
    expectProblem(await get('blue', `/v2/blocks/${block_id}`), 'block_not_found')
    expect(expectStatus(200, await get('blue', `/v2/allocations/${held.id}`)).ended_at).toBe(null)
    const patch = { name: 'kept' }
    expectStatus(200, await as('blue', 'PATCH', `/v2/allocations/${held.id}`, patch))
    expectStatus(200, await as('blue', 'DELETE', `/v2/allocations/${held.id}`))
    expectProblem(await allocate('blue', { block_id }), 'block_not_found')
  })

  test('stops what is asked for anew in other words', async () => {
    const policy_id = (await api.createPolicy('wait', { quarantine_seconds: 600 })).id
    const block_id = (await newBlock('10.0.0.0/24', { policy_id })).id
    const made = await grant({ block_id })
    const owner = { owner_id: 'vm', one_per_owner: true }
    const mine = await takeOne('blue', { block_id, ...owner })
    const gone = await takeOne('blue', { block_id, owner_id: 'vm2' })
    expectStatus(200, await as('blue', 'DELETE', `/v2/allocations/${gone.id}`))
    await revoke(made)
    expectProblem(await allocate('blue', { block_id, ...owner }), 'block_not_found')
    const { address } = gone
    expectProblem(await allocate('blue', { block_id, address }), 'block_not_found')
    const restore = `/v2/allocations/${gone.id}/restore`
    expectProblem(await post('blue', restore, {}), 'not_granted', { status: 403 })
    expect(mine.ended_at).toBe(null)
    const full = await grant({ block_id, allocations_max: 1 })
    expectProblem(await post('blue', restore, {}), 'quota_exceeded')
    expect(await takeOne('blue', { block_id, ...owner })).toMatchObject({ id: mine.id })
    await limit(full, 2)
    const back = expectStatus(201, await post('blue', restore, {}))
    expect(await grantOf(back)).toBe(full.id)
  })

  test('lets holds be renewed and confirmed', async () => {
    const block_id = (await newBlock()).id
    const made = await grant({ block_id })
    const { id } = await takeOne('blue', { block_id, lifetime_seconds: 60 })
    await revoke(made)
    const lifetime = { lifetime_seconds: 600 }
    expectStatus(200, await post('blue', `/v2/allocations/${id}/renew`, lifetime))
    expectStatus(200, await post('blue', `/v2/allocations/${id}/confirm`, {}))
  })
})

describe('a limit', () => {
  test('counts what is held at a time, and is exact', async () => {
    const block_id = (await newBlock()).id
    const made = await grant({ block_id, allocations_max: 5 })
    const asked = await Promise.all(
      Array.from({ length: 20 }, () => allocate('blue', { block_id })),
    )
    const given = asked.filter(({ status }) => status === 201)
    expect(given).toHaveLength(5)
    for (const answer of asked) if (answer.status !== 201) expectProblem(answer, 'quota_exceeded')
    expect(asked.find(({ status }) => status !== 201)?.body.detail).toContain('5 of the 5')
    await as('blue', 'DELETE', `/v2/allocations/${given[0]?.body.allocations[0]?.id}`)
    await take('blue', { block_id })
    await limit(made, 3)
    expectProblem(await allocate('blue', { block_id }), 'quota_exceeded')
    expect(await usageOf('blue', made)).toEqual([{ project_id: 'blue', held: '5' }])
    await limit(made, null)
    await take('blue', { block_id, count: 10 })
  })

  test('counts what was taken before it was revoked and granted again', async () => {
    const block_id = (await newBlock()).id
    const first = await grant({ block_id, allocations_max: 2 })
    await take('blue', { block_id, count: 2 })
    await revoke(first)
    await grant({ block_id, allocations_max: 2 })
    expectProblem(await allocate('blue', { block_id }), 'quota_exceeded')
  })

  test('counts IPv4 prefixes by their addresses, and IPv6 prefixes by their /64s', async () => {
    const v4 = (await newBlock('10.0.0.0/16')).id
    const v6 = (await newBlock('2001:db8::/48')).id
    for (const block_id of [v4, v6]) await grant({ block_id, allocations_max: 20 })
    expectProblem(await allocate('blue', { block_id: v4, prefix_length: 24 }), 'quota_exceeded')
    await take('blue', { block_id: v4, prefix_length: 28 })
    expectProblem(
      await allocate('blue', { block_id: v4, address: '10.0.9.0/29' }),
      'quota_exceeded',
    )
    await take('blue', { block_id: v4, address: '10.0.9.0/30' })
    expectProblem(await allocate('blue', { block_id: v4 }), 'quota_exceeded')
    await take('blue', { block_id: v6, prefix_length: 60 })
    await take('blue', { block_id: v6, prefix_length: 80 })
    await take('blue', { block_id: v6, count: 3 })
    expectProblem(await allocate('blue', { block_id: v6 }), 'quota_exceeded')
  })

  test('of a nearer grant that is reached leaves one further up', async () => {
    const top = await newBlock('10.0.0.0/16')
    const [leaf] = await api.cut(top, { prefix_length: 24, count: 1 })
    const near = await grant({ block_id: String(leaf?.id), allocations_max: 1 })
    const far = await grant({ block_id: top.id, allocations_max: 1 })
    const block_id = leaf?.id
    const taken = [await takeOne('blue', { block_id }), await takeOne('blue', { block_id })]
    expect(await Promise.all(taken.map(grantOf))).toEqual([near.id, far.id])
    expectProblem(await allocate('blue', { block_id }), 'quota_exceeded')
  })

  test('is free again when a hold lapses or an allocation ends, whoever ends it', async () => {
    const block_id = (await newBlock()).id
    await grant({ block_id, allocations_max: 1 })
    const { id } = await takeOne('blue', { block_id, lifetime_seconds: 1 })
    await expect
      .poll(async () => (await allocate('blue', { block_id })).status, { timeout: 5000 })
      .toBe(201)
    expect(expectStatus(200, await api.get(`/v2/allocations/${id}`)).ended_at).not.toBe(null)
    const { allocations } = expectStatus(200, await api.get('/v2/allocations?project_id=blue'))
    for (const one of allocations) await api.release(one)
    await take('blue', { block_id })
  })

  test('holds for many at once, each with its own outcome', async () => {
    const block_id = (await newBlock()).id
    const other = (await newBlock('10.1.0.0/24', { project_id: 'blue' })).id
    await grant({ block_id, allocations_max: 2 })
    const items = [{ block_id }, { block_id: other }, { block_id, count: 2 }, { block_id }]
    const bulk = (on_error: string) => post('blue', '/v2/allocations/bulk', { items, on_error })
    expectProblem(await bulk('abort'), 'quota_exceeded')
    const { outcomes } = expectStatus(200, await bulk('continue')) as never as {
      outcomes: { status: number }[]
    }
    expect(outcomes.map(({ status }) => status)).toEqual([201, 201, 409, 201])
  })

  test('is not passed by a request that is repeated with its key', async () => {
    const block_id = (await newBlock()).id
    await grant({ block_id, allocations_max: 1 })
    const headers = { 'x-auth-token': tokens['blue member'], 'idempotency-key': 'one' }
    const once = () =>
      api.send({ method: 'POST', url: '/v2/allocations', headers, payload: { block_id } })
    const [first, second] = [await once(), await once()]
    expect(second.body.allocations).toEqual(first.body.allocations)
    const other = { ...headers, 'idempotency-key': 'two' }
    for (const _ of [1, 2]) {
      const refused = await api.send({
        ...{ method: 'POST', url: '/v2/allocations', headers: other, payload: { block_id } },
      })
      expectProblem(refused, 'quota_exceeded')
    }
    await as('blue', 'DELETE', `/v2/allocations/${first.body.allocations[0]?.id}`)
    const again = await api.send({
      ...{ method: 'POST', url: '/v2/allocations', headers: other, payload: { block_id } },
    })
    expect(again.status).toBe(201)
  })

  test('and its end leave what was answered under a key as it was', async () => {
    const network_id = await newNetwork()
    const block_id = (await newBlock('10.0.0.0/24', { network_id })).id
    const made = await grant({ network_id })
    const nic = { network_id, families: [4], mac_address: '52:54:00:aa:00:01' }
    const bodies = { '/v2/allocations': { block_id }, '/v2/interfaces': nic }
    const send = ([url, payload]: [string, object]) => {
      const headers = { 'x-auth-token': tokens['blue member'], 'idempotency-key': url }
      return api.send({ method: 'POST', url, headers, payload })
    }
    const first = await Promise.all(Object.entries(bodies).map(send))
    expect(first.map(({ status }) => status)).toEqual([201, 201])
    await revoke(made)
    const again = await Promise.all(Object.entries(bodies).map(send))
    expect(again.map(({ body }) => body)).toEqual(first.map(({ body }) => body))
  })

  test('is not used by a dry run', async () => {
    const block_id = (await newBlock()).id
    const made = await grant({ block_id, allocations_max: 1 })
    expectStatus(200, await allocate('blue', { block_id, dry_run: true }))
    expect(await usageOf('blue', made)).toEqual([])
  })
})

describe('on a granted network', () => {
  const place = async () => {
    const network_id = await newNetwork()
    await newBlock('10.0.0.0/24', { network_id })
    const { id: mac_range_id } = await createMacRange(api, { prefix: '52:54:00:00:00:00/32' })
    return { network_id, mac_range_id }
  }
  const mac = { mac_address: '52:54:00:aa:00:01' }

  test('interfaces take addresses, within the limit, until it is revoked', async () => {
    const { network_id } = await place()
    const wanted = { network_id, families: [4], ...mac }
    expectProblem(await post('blue', '/v2/interfaces', wanted), 'network_not_found')
    const made = await grant({ network_id, allocations_max: 2 })
    const nic = expectStatus(201, await post('blue', '/v2/interfaces', wanted))
    const more = `/v2/interfaces/${nic.id}/addresses`
    expectStatus(201, await post('blue', more, { addresses: ['10.0.0.50'] }))
    expectProblem(await post('blue', more, { addresses: ['10.0.0.51'] }), 'quota_exceeded')
    expect(await usageOf('blue', made)).toEqual([{ project_id: 'blue', held: '2' }])
    await revoke(made)
    expectProblem(await post('blue', more, { addresses: ['10.0.0.52'] }), 'forbidden')
    expectStatus(200, await get('blue', `/v2/interfaces/${nic.id}`))
    expectStatus(200, await get('blue', `/v2/interfaces/${nic.id}/configuration`))
    expectStatus(204, await as('blue', 'DELETE', `/v2/interfaces/${nic.id}`))
    const again = await grant({ network_id, allocations_max: 2 })
    expect(await usageOf('blue', again)).toEqual([])
  })

  test('a device gets its interfaces, on own networks and on granted ones', async () => {
    const { network_id } = await place()
    const own = await newNetwork('blue')
    await newBlock('10.1.0.0/24', { network_id: own, project_id: 'blue' })
    const made = await grant({ network_id, allocations_max: 1 })
    const interfaces = [
      { network_id, families: [4], ...mac },
      { network_id: own, families: [4], mac_address: '52:54:00:aa:00:02' },
    ]
    const url = '/v2/devices/vm/interfaces'
    expectStatus(200, await as('blue', 'PUT', url, { interfaces }))
    const third = { network_id, families: [4], mac_address: '52:54:00:aa:00:03' }
    const refused = await as('blue', 'PUT', url, { interfaces: [...interfaces, third] })
    expectProblem(refused, 'quota_exceeded')
    expect(await usageOf('blue', made)).toEqual([{ project_id: 'blue', held: '1' }])
    expectStatus(200, await as('blue', 'PUT', url, { interfaces: [third] }))
  })
})

describe('a floating pool', () => {
  test('is a public block that is granted', async () => {
    const pool = await api.createBlock('198.51.100.0/24', { project_id: 'red' })
    const take = (request: object) => post('blue', '/v2/floating-ips', request)
    expectProblem(await take({ block_id: pool.id }), 'block_not_found')
    expectProblem(await take({ address: '198.51.100.9' }), 'address_outside_block')
    const made = await grant({ block_id: pool.id, allocations_max: 2 })
    expectStatus(201, await take({ block_id: pool.id }))
    const second = expectStatus(201, await take({ address: '198.51.100.9' }))
    expectProblem(await take({ block_id: pool.id }), 'quota_exceeded')
    expectStatus(204, await as('blue', 'DELETE', `/v2/floating-ips/${second.id}`))
    await revoke(made)
    expectProblem(await take({ block_id: pool.id }), 'block_not_found')
    expectProblem(await take({ address: '198.51.100.9' }), 'address_outside_block')
  })

  test('is the network of public blocks, too', async () => {
    const network_id = await newNetwork()
    await api.createBlock('198.51.100.0/24', { project_id: 'red', network_id })
    await grant({ network_id, allocations_max: 1 })
    expectStatus(201, await post('blue', '/v2/floating-ips', { network_id }))
    expectProblem(await post('blue', '/v2/floating-ips', { network_id }), 'quota_exceeded')
  })
})

describe('what is granted is seen', () => {
  test('and what is not granted is not', async () => {
    const network_id = await newNetwork()
    const block = await newBlock('10.0.0.0/24', { network_id })
    const urls = [
      `/v2/networks/${network_id}`,
      `/v2/blocks/${block.id}`,
      `/v2/blocks/${block.id}/configuration`,
    ]
    const hidden = [
      `/v2/blocks/${block.id}/free-ranges`,
      `/v2/blocks/${block.id}/utilisation`,
      `/v2/blocks/${block.id}/addresses/10.0.0.9`,
      `/v2/blocks/${block.id}/rules`,
      `/v2/networks/${network_id}/utilisation`,
      `/v2/blocks/${block.id}/dhcp-options`,
    ]
    for (const url of [...urls, ...hidden]) expect((await get('blue', url)).status).toBe(404)
    await grant({ network_id })
    for (const url of urls) expectStatus(200, await get('blue reader', url))
    for (const url of hidden) expectProblem(await get('blue', url), 'forbidden')
    for (const url of [...urls, ...hidden]) expect((await get('green', url)).status).toBe(404)
    const changes = [
      ['PATCH', `/v2/networks/${network_id}`, { name: 'mine' }],
      ['DELETE', `/v2/networks/${network_id}`, undefined],
      ['PATCH', `/v2/blocks/${block.id}`, { name: 'mine' }],
      ['DELETE', `/v2/blocks/${block.id}`, undefined],
      ['POST', `/v2/blocks/${block.id}/children`, { prefix_length: 28, count: 1 }],
      ['POST', '/v2/blocks', { parent_id: block.id, cidr: '10.0.0.0/28' }],
      ['POST', '/v2/grants', { block_id: block.id, project_id: 'green' }],
      ['PUT', `/v2/networks/${network_id}/dhcp-options/4/mtu`, { value: 1400 }],
    ] as const
    for (const [method, url, payload] of changes) {
      expectProblem(await as('blue manager', method, url, payload), 'forbidden')
      expect((await as('green manager', method, url, payload)).status).toBe(404)
    }
  })

  test('in lists, by pages, and others that hold addresses there are not', async () => {
    const network_id = await newNetwork()
    const top = await newBlock('10.0.0.0/16', { network_id })
    const [leaf] = await api.cut(top, { prefix_length: 24, count: 1 })
    const own = await newBlock('10.9.0.0/24', { project_id: 'blue' })
    const foreign = await takeOne('red', { block_id: leaf?.id })
    await grant({ network_id })
    const ids = async (url: string, key: 'blocks' | 'networks') => {
      const found: string[] = []
      for (let next: string | undefined = url; next; ) {
        const body = expectStatus(200, await get('blue', next))
        found.push(...body[key].map(({ id }) => id))
        next = body.links[0]?.href
      }
      return found.toSorted()
    }
    const all = [top.id, String(leaf?.id), own.id].toSorted()
    expect(await ids('/v2/blocks', 'blocks')).toEqual(all)
    expect(await ids('/v2/blocks?limit=1', 'blocks')).toEqual(all)
    expect(await ids('/v2/blocks?limit=1&sort=cidr', 'blocks')).toEqual(all)
    expect(await ids('/v2/blocks?project_id=blue', 'blocks')).toEqual([own.id])
    expect(await ids(`/v2/blocks?network_id=${network_id}&limit=1`, 'blocks')).toHaveLength(2)
    expect(await ids('/v2/networks?limit=1', 'networks')).toEqual([network_id])
    const { allocations } = expectStatus(200, await get('blue', '/v2/allocations?state=all'))
    expect(allocations).toEqual([])
    expectProblem(await get('blue', `/v2/allocations/${foreign.id}`), 'allocation_not_found')
  })

  test('a grant itself is seen by both sides, and changed by its owner alone', async () => {
    const block_id = (await newBlock()).id
    const made = await grant({ block_id })
    const url = `/v2/grants/${made.id}`
    for (const who of ['red reader', 'blue reader']) {
      expect(expectStatus(200, await get(who, url))).toEqual(made)
      expect(expectStatus(200, await get(who, '/v2/grants')).grants).toEqual([made])
    }
    expectProblem(await get('green', url), 'grant_not_found')
    expectProblem(await get('green', `${url}/usage`), 'grant_not_found')
    expect(expectStatus(200, await get('green', '/v2/grants')).grants).toEqual([])
    for (const method of ['PATCH', 'DELETE'] as const) {
      const payload = method === 'PATCH' ? { allocations_max: 1 } : undefined
      expectProblem(await as('blue manager', method, url, payload), 'forbidden')
      expectProblem(await as('green manager', method, url, payload), 'grant_not_found')
    }
    const other = await grant({ block_id, project_id: null, tags: ['all'] })
    expect(expectStatus(200, await get('green', '/v2/grants')).grants).toEqual([other])
    const filtered = async (query: string) =>
      expectStatus(200, await get('red', `/v2/grants?${query}`)).grants.map(({ id }) => id)
    expect(await filtered(`block_id=${block_id}`)).toEqual([made.id, other.id])
    expect(await filtered('tag=all')).toEqual([other.id])
    const ofBlue = expectStatus(200, await api.get('/v2/grants?project_id=blue&limit=1'))
    expect(ofBlue.grants).toEqual([made])
    expect(ofBlue.links).toHaveLength(1)
  })
})

describe('a block that is handed over', () => {
  test('is managed by the other project, and the giver sees that it is there', async () => {
    const top = await newBlock('10.0.0.0/16')
    const hand = { prefix_length: 24, count: 1, project_id: 'blue' }
    const cut = `/v2/blocks/${top.id}/children`
    expectProblem(await post('red member', cut, hand), 'forbidden')
    expectProblem(await post('green manager', cut, hand), 'block_not_found')
    const { blocks } = expectStatus(201, await post('red manager', cut, hand))
    const given = blocks[0] as never as { id: string; cidr: string }
    const one = expectStatus(
      201,
      await post('red manager', '/v2/blocks', {
        ...{ parent_id: top.id, cidr: '10.0.255.0/24', project_id: 'blue' },
      }),
    )
    const url = `/v2/blocks/${given.id}`

    // The other project carves, allocates, sets routes and options, and grants.
    expectStatus(200, await as('blue', 'PATCH', url, { name: 'ours', gateway_ip: '10.0.0.1' }))
    expectProblem(await as('blue manager', 'PATCH', url, { cidr: '10.0.0.0/23' }), 'forbidden')
    await take('blue', { block_id: one.id })
    const route = { destination: '192.0.2.0/24', gateway: '10.0.0.9' }
    expectStatus(201, await post('blue', `${url}/routes`, route))
    expectStatus(200, await as('blue', 'PUT', `${url}/dhcp-options/4/mtu`, { value: 1400 }))
    const carve = { prefix_length: 26, count: 2 }
    const carved = expectStatus(201, await post('blue', `${url}/children`, carve)).blocks
    expect(carved.map(({ project_id }) => project_id)).toEqual(['blue', 'blue'])
    const inner = carved[0]?.id
    expectStatus(201, await post('blue', '/v2/grants', { block_id: inner, project_id: 'green' }))
    await take('green', { block_id: inner })
    const resized = `/v2/blocks/${carved[1]?.id}`
    expectStatus(200, await as('blue', 'PATCH', resized, { cidr: '10.0.0.64/27' }))
    expectStatus(204, await as('blue manager', 'DELETE', resized))

    // The giver sees it, and not what is in it.
    expectStatus(200, await get('red reader', url))
    const below = async (who: string, parent: string) =>
      expectStatus(200, await get(who, `/v2/blocks?parent_id=${parent}`)).blocks.map(({ id }) => id)
    expect(await below('red', top.id)).toEqual([given.id, one.id])
    expect(await below('red', given.id)).toEqual([])
    expectProblem(await get('red', `/v2/blocks/${inner}`), 'block_not_found')
    expectProblem(await allocate('red manager', { block_id: one.id }), 'forbidden')
    expectProblem(await as('red manager', 'PATCH', url, { name: 'mine' }), 'forbidden')
    expectProblem(await post('red manager', `${url}/children`, carve), 'forbidden')
    expectProblem(
      await post('red manager', '/v2/grants', { block_id: given.id, project_id: null }),
      'forbidden',
    )
    // What is beside it is of the giver alone.
    expectProblem(await get('blue', `/v2/blocks/${top.id}`), 'block_not_found')
    expectProblem(await post('blue manager', cut, carve), 'block_not_found')

    // It is taken back when nothing is in it.
    expectProblem(await as('red manager', 'DELETE', url), 'block_has_children')
    const { allocations } = expectStatus(200, await get('blue', '/v2/allocations'))
    for (const { id } of allocations) {
      expectStatus(200, await as('blue', 'DELETE', `/v2/allocations/${id}`))
    }
    expectProblem(await as('red member', 'DELETE', `/v2/blocks/${one.id}`), 'forbidden')
    expectStatus(204, await as('red manager', 'DELETE', `/v2/blocks/${one.id}`))
  })
})

describe('below the path of a tenant in the API of v0.1 and v1.0', () => {
  const call = async (who: string, method: 'GET' | 'POST' | 'DELETE', url: string, body = {}) => {
    const { statusCode, payload } = await api.app.inject({
      method,
      url,
      headers: {
        'x-auth-token': tokens[`${who} member`],
        ...(method === 'POST' && { 'content-type': 'application/json' }),
      },
      ...(method === 'POST' && { payload: body }),
    })
    return { status: statusCode, body: payload.startsWith('{') ? JSON.parse(payload) : payload }
  }

  test('addresses are taken of a granted block, and given back after it was revoked', async () => {
    const network_id = await newNetwork()
    const block = await newBlock('10.0.0.0/24', { network_id })
    const path = `/v1.0/ipam/tenants/blue/ip_blocks/${block.id}/ip_addresses`
    expect((await call('blue', 'POST', path)).status).toBe(404)
    const made = await grant({ block_id: block.id, allocations_max: 1 })
    const taken = await call('blue', 'POST', path)
    expect(taken).toMatchObject({ status: 201, body: { ip_address: { ip_block_id: block.id } } })
    expect((await call('blue', 'POST', path)).status).toBe(422)
    expect((await call('green', 'POST', path.replace('blue', 'green'))).status).toBe(404)
    expect(await usageOf('red', made)).toEqual([{ project_id: 'blue', held: '1' }])
    await revoke(made)
    expect((await call('blue', 'POST', path)).status).toBe(404)
    const one = `${path}/${taken.body.ip_address.address}`
    expect((await call('green', 'GET', one.replace('blue', 'green'))).status).toBe(404)
    expect((await call('blue', 'GET', one)).status).toBe(200)
    expect((await call('blue', 'DELETE', one)).status).toBe(200)
    expect((await call('blue', 'GET', one)).status).toBe(404)
  })

  test('interfaces are given addresses of a granted network', async () => {
    const network_id = await newNetwork()
    await newBlock('10.0.0.0/24', { network_id })
    await createMacRange(api, { prefix: '52:54:00:00:00:00/32' })
    const path = (vif: string) =>
      `/v0.1/ipam/tenants/blue/networks/${network_id}/interfaces/${vif}/ip_allocations`
    const made = await grant({ network_id, allocations_max: 2 })
    for (const vif of ['one', 'two'])
      expect((await call('blue', 'POST', path(vif))).status).toBe(201)
    expect((await call('blue', 'POST', path('three'))).status).toBe(422)
    expect(await usageOf('red', made)).toEqual([{ project_id: 'blue', held: '2' }])
  })
})
