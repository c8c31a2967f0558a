import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { audit } from '../../src/audit/store.ts'
import { sql } from '../../src/db/sql.ts'
import type { NetworkRequest } from '../../src/resources/networks/schema.ts'
import { expectProblem, expectStatus, useApi } from '../helpers/api.ts'
import { useClock } from '../helpers/clock.ts'

const api = useApi()
const clock = useClock(api)
const nowhere = '3f2b0a52-6c1d-4f0e-9a55-0d6c6f1f0001'
const pathOf = ({ id }: { id: string }) => `/v2/networks/${id}`
const createNetwork = async (request: NetworkRequest = {}) =>
  expectStatus(201, await api.post('/v2/networks', request))
const createPolicy = async () => {
  const id = randomUUID()
  await api.db.query(sql`insert into policies (id, name) values (${id}, ${id})`)
  return id
}
const readEvents = async () => (await api.get('/v2/events')).body.events

describe('a network', () => {
  test('is shown as it was created, to whom it belongs or to all', async () => {
    const settings = {
      project_id: 'red',
      name: 'web',
      description: 'Front ends',
      tags: ['a', 'b'],
      policy_id: await createPolicy(),
    }
    const answer = await api.post('/v2/networks', settings)
    expect(answer).toMatchObject({ status: 201, body: { ...settings, generation: 1 } })
    expect(answer.headers.location).toBe(pathOf(answer.body))
    expect((await api.get(pathOf(answer.body))).body).toEqual(answer.body)

    const shared = await createNetwork({ project_id: null })
    expect(shared).toMatchObject({ project_id: null, name: '', tags: [], policy_id: null })
    expect(shared.id).not.toBe(answer.body.id)
  })

  test('has the id that its creator chooses, once', async () => {
    const id = randomUUID()
    expect(await createNetwork({ id: id.toUpperCase(), name: 'web' })).toMatchObject({ id })
    const again = await api.post('/v2/networks', { id, name: 'other' })
    expectProblem(again, 'network_exists', { status: 409, field: 'id' })
    expect((await api.get(pathOf({ id }))).body).toMatchObject({ name: 'web', generation: 1 })
  })

  test('is created once, also by many at the same time', async () => {
    const id = randomUUID()
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, n) => api.post('/v2/networks', { id, name: `${n}` })),
    )
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, ...Array(7).fill(409)])
    expect(await readEvents()).toMatchObject([{ type: 'network.created', object_id: id }])
  })

  test('may come back under its id after it was deleted', async () => {
    const { id } = await createNetwork({ name: 'web' })
    await api.patch(pathOf({ id }), { name: 'www' })
    for (const generation of [1, 1]) {
      expectStatus(204, await api.delete(pathOf({ id })))
      expect(await createNetwork({ id })).toMatchObject({ id, generation })
    }
  })

  test('a change touches only what it names', async () => {
    const policy_id = await createPolicy()
    const network = await createNetwork({ name: 'web', description: 'Front ends', policy_id })
    const change = async (patch: object) =>
      expectStatus(200, await api.patch(pathOf(network), patch))
    const tagged = await change({ tags: ['b'] })
    const updated_at = expect.any(String)
    expect(tagged).toEqual({ ...network, tags: ['b'], generation: 2, updated_at })
    expect(tagged.updated_at > network.updated_at).toBe(true)
    const free = await change({ policy_id: null })
    expect(free).toEqual({ ...tagged, policy_id: null, generation: 3, updated_at })
    expect(await change({ policy_id })).toMatchObject({ policy_id, name: 'web', generation: 4 })
    expect((await api.get(pathOf(network))).body).toMatchObject({ policy_id, generation: 4 })
  })

  test('is nowhere after its deletion', async () => {
    const network = await createNetwork()
    expectStatus(204, await api.delete(pathOf(network)))
    const path = pathOf(network)
    for (const gone of [
      await api.get(path),
      await api.patch(path, { name: 'web' }),
      await api.delete(path),
      await api.get(`${path}/utilisation`),
    ]) {
      expectProblem(gone, 'network_not_found', { status: 404 })
    }
  })

  test('cannot have a policy that there is not', async () => {
    const refused = await api.post('/v2/networks', { name: 'web', policy_id: nowhere })
    expectProblem(refused, 'policy_not_found', { status: 404, field: 'policy_id' })
    const network = await createNetwork()
    const changed = await api.patch(pathOf(network), { policy_id: nowhere })
    expectProblem(changed, 'policy_not_found', { status: 404 })
    expect((await api.get('/v2/networks')).body.networks).toEqual([network])
  })

  test.each([
    ['id', { id: 'web' }],
    ['id', { id: `urn:uuid:${nowhere}` }],
    ['id', { id: null }],
    ['project_id', { project_id: '' }],
    ['policy_id', { policy_id: 'gold' }],
    ['vlan', { vlan: 7 }],
  ])('is refused with %s as in %j', async (field, request) => {
    expectProblem(await api.post('/v2/networks', request), 'invalid_request', { field })
  })

  test.each(['id', 'project_id', 'generation'])('keeps its %s', async field => {
    const network = await createNetwork()
    const answer = await api.patch(pathOf(network), { [field]: network[field as 'id'] })
    expectProblem(answer, 'invalid_request', { field })
  })

  test('leaves an event of each change, with its state', async () => {
    const network = await createNetwork({ project_id: 'red', name: 'web' })
    const { body: renamed } = await api.patch(pathOf(network), { name: 'www' })
    await api.delete(pathOf(network))
    const common = { object_id: network.id, project_id: 'red' }
    expect(await readEvents()).toMatchObject([
      { ...common, type: 'network.created', data: network },
      { ...common, type: 'network.updated', data: renamed },
      { ...common, type: 'network.deleted', data: renamed },
    ])
    const { body } = await api.get('/v2/events?type=network.updated')
    expect(body.events).toMatchObject([{ data: renamed }])
  })

  test('that changed without an event is named by the audit', async () => {
    await createNetwork() // What is older than the oldest event is not looked at.
    const { id } = await createNetwork()
    const setGeneration = (generation: number) =>
      api.db.query(sql`update networks set generation = ${generation} where id = ${id}`)
    await setGeneration(2)
    const { differences } = await audit(api.db)
    expect(differences).toMatchObject([{ check: 'I9 change without its event', subject: id }])
    await setGeneration(1)
  })
})

describe('networks are listed', () => {
  test('by each filter, and by several at once', async () => {
    const policy_id = await createPolicy()
    await createNetwork({ project_id: 'red', name: 'web', tags: ['x', 'y'] })
    await createNetwork({ project_id: 'red', name: 'db', tags: ['x'], policy_id })
    await createNetwork({ project_id: 'blue', name: 'web', policy_id })
    await createNetwork({ name: '' })
    const list = async (query: string) => {
      const { networks } = expectStatus(200, await api.get(`/v2/networks?${query}`))
      return networks.map(({ project_id, name }) => `${project_id} ${name}`)
    }
    const cases: [string, string[]][] = [
      ['', ['red web', 'red db', 'blue web', 'null ']],
      ['project_id=red', ['red web', 'red db']],
      ['name=web', ['red web', 'blue web']],
      ['name=', ['null ']],
      ['tag=x', ['red web', 'red db']],
      ['tag=x&tag=y', ['red web']],
      [`policy_id=${policy_id}`, ['red db', 'blue web']],
      [`policy_id=${policy_id}&name=web`, ['blue web']],
      ['project_id=green', []],
    ]
    for (const [query, names] of cases) expect([query, await list(query)]).toEqual([query, names])
  })

  test('in the order of each sort, equals by id', async () => {
    const ids: string[] = []
    for (const name of ['b', 'c', 'a', 'b', '', 'a']) ids.push((await createNetwork({ name })).id)
    const indexesBy = async (sort: string) => {
      const pages = await api.pages('networks', `/v2/networks?sort=${sort}&limit=1`)
      return pages.flat().map(({ id }) => ids.indexOf(id))
    }
    expect(await indexesBy('id')).toEqual([0, 1, 2, 3, 4, 5])
    expect(await indexesBy('name')).toEqual([4, 2, 5, 0, 3, 1])
  })

  test.each(['id', 'name'])(
    'by %s each that stays is on one page, while others come and go',
    async sort => {
      const stay: string[] = []
      const doomed: string[] = []
      for (let n = 0; n < 12; n++) {
        stay.push((await createNetwork({ name: 'stay' })).id)
        doomed.push((await createNetwork({ name: n % 2 ? 'go' : 'zone' })).id)
      }
      const pages = await api.pages('networks', `/v2/networks?sort=${sort}&limit=5`, async () => {
        const id = doomed.shift()
        if (id) await api.delete(pathOf({ id }))
        await createNetwork({ name: 'come' })
      })
      const ids = pages.flat().map(({ id }) => id)
      expect(new Set(ids).size).toBe(ids.length)
      expect(ids).toEqual(expect.arrayContaining(stay))
      expect(pages.length).toBeGreaterThan(3)
    },
  )

  test('only with a marker of the same sort', async () => {
    for (const name of ['a', 'b', 'c']) await createNetwork({ name })
    const { next_marker } = (await api.get('/v2/networks?sort=name&limit=2')).body
    const other = await api.get(`/v2/networks?sort=id&limit=2&marker=${next_marker}`)
    expectProblem(other, 'marker_invalid', { status: 400 })
    expectProblem(await api.get('/v2/networks?marker=invented'), 'marker_invalid')
  })
})

describe('the subnets of a network', () => {
  test('keep it from being deleted, and are named', async () => {
    const network = await createNetwork()
    const blocks = []
    for (let n = 0; n < 12; n++) {
      blocks.push(await api.createBlock(`10.0.${n}.0/24`, { network_id: network.id }))
    }
    const conflicts = blocks
      .slice(0, 10)
      .map(({ id, cidr }) => ({ type: 'block', id, address: cidr }))
    const refused = await api.delete(pathOf(network))
    expectProblem(refused, 'network_has_subnets', { status: 409, conflicts })
    for (const { id } of blocks) await api.delete(`/v2/blocks/${id}`)
    expectStatus(204, await api.delete(pathOf(network)))
  })

  test('are never left without it, whoever is first', async () => {
    for (let n = 0; n < 10; n++) {
      const network = await createNetwork()
      const request = { scope_id: 'public', cidr: `10.0.${n}.0/24`, network_id: network.id }
      const create = () => api.post('/v2/blocks', request)
      const remove = () => api.delete(pathOf(network))
      const [first, second] = n % 2 ? [create, remove] : [remove, create]
      const answers = await Promise.all([first(), second()])
      const [created, deleted] = n % 2 ? answers : answers.toReversed()
      if (!created || !deleted) throw new Error('no answer')
      if (deleted.status === 204) expectProblem(created, 'network_not_found')
      else {
        expectStatus(201, created)
        expectProblem(deleted, 'network_has_subnets')
      }
    }
  })

  test('are counted by IP version, exactly', async () => {
    const network = await createNetwork()
    const path = `${pathOf(network)}/utilisation`
    expect((await api.get(path)).body).toEqual({ ipv4: null, ipv6: null })

    const there = { network_id: network.id }
    const small = await api.createBlock('192.0.2.0/28', there)
    const top = await api.createBlock('10.0.0.0/16', there)
    const [leaf] = await api.cut(top, { cidrs: ['10.0.1.0/24', '10.0.2.0/24'] })
    await api.createBlock('198.51.100.0/24')
    if (!leaf) throw new Error('no leaf')
    await api.allocate(small, { count: 3 })
    await api.allocate(leaf, { prefix_length: 28 })
    const none = { held: '0', quarantined: '0' }
    const ipv4 = { ...none, subnets: 3, total: '528', allocated: '19', excluded: '6', free: '503' }
    expect((await api.get(path)).body).toEqual({ ipv4, ipv6: null })

    const large = await api.createBlock('2001:db8::/32', there)
    await api.createBlock('2001:db9::/64', there)
    await api.allocate(large, { prefix_length: 64 })
    const total = 2n ** 96n + 2n ** 64n
    expect((await api.get(path)).body).toEqual({
      ipv4,
      ipv6: {
        ...none,
        subnets: 2,
        total: `${total}`,
        allocated: `${2n ** 64n}`,
        excluded: '1',
        free: `${total - 2n ** 64n - 1n}`,
      },
    })
  })

  test('are counted with what is held and what waits apart from what is allocated', async () => {
    const { id: policy_id } = await api.createPolicy('wait', { quarantine_seconds: 300 })
    const network = await createNetwork({ policy_id })
    const there = { network_id: network.id }
    const [a, b, c] = [
      await api.createBlock('192.0.2.0/28', there),
      await api.createBlock('198.51.100.0/28', there),
      await api.createBlock('2001:db8::/64', there),
    ]
    await api.createBlock('203.0.113.0/28', { policy_id })
    const utilisation = async () => (await api.get(`${pathOf(network)}/utilisation`)).body
    const hold = { lifetime_seconds: 60 }
    await api.allocate(a, { count: 2 })
    await api.allocate(a, { ...hold, count: 3 })
    await api.allocate(b, { ...hold, prefix_length: 31 })
    for (const gone of await api.allocate(b, { count: 4 })) await api.release(gone)
    await api.release(await api.allocateOne(c, { prefix_length: 80 }))
    const [kept] = await api.allocate(c, { ...hold, count: 2 })
    const ipv4 = { subnets: 2, total: '32', excluded: '4' }
    const large = `${2n ** 48n}`
    expect(await utilisation()).toMatchObject({
      ipv4: { ...ipv4, allocated: '2', held: '5', quarantined: '4', free: '17' },
      ipv6: { allocated: '0', held: '2', quarantined: large },
    })

    // Confirmed, it is allocated; lapsed, it waits, also where nothing else is done.
    expectStatus(200, await api.post(`/v2/allocations/${kept?.id}/confirm`, {}))
    await clock.advance(61)
    await clock.sweep()
    expect(await utilisation()).toMatchObject({
      ipv4: { ...ipv4, allocated: '2', held: '0', quarantined: '9', free: '17' },
      ipv6: { allocated: '1', held: '0', quarantined: `${2n ** 48n + 1n}` },
    })
    await clock.advance(301)
    await clock.sweep()
    expect(await utilisation()).toMatchObject({
      ipv4: { ...ipv4, allocated: '2', held: '0', quarantined: '0', free: '26' },
      ipv6: { allocated: '1', held: '0', quarantined: '0' },
    })
  })
})
