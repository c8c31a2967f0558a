import { beforeEach, describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { BlockRoute } from '../../src/resources/block-routes/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import { type Answer, expectProblem, expectStatus, useApi } from '../helpers/api.ts'

const api = useApi()
const nowhere = '3f2b0a52-6c1d-4f0e-9a55-0d6c6f1f0001'

let block: Block
let url: string
beforeEach(async () => {
  block = await api.createBlock('10.0.0.0/24', { project_id: 'red' })
  url = `/v2/blocks/${block.id}/routes`
})

const routeOf = (answer: Answer, status = 201) =>
  expectStatus(status, answer) as unknown as BlockRoute
const add = async (destination: string, gateway: string, more: object = {}) =>
  routeOf(await api.post(url, { destination, gateway, ...more }))
const eventsOf = async () =>
  (await api.get('/v2/events')).body.events.filter(({ type }) => type.startsWith('block_route.'))

describe('a route of a block', () => {
  test('is shown as it was created, changed, and then gone', async () => {
    const request = { destination: '192.0.2.0/24', gateway: '10.0.0.254', metric: 10 }
    const answer = await api.post(url, { ...request, description: 'Lab' })
    const route = routeOf(answer)
    const shown = { ...request, description: 'Lab', block_id: block.id, generation: 1 }
    expect(route).toMatchObject(shown)
    expect(answer.headers.location).toBe(`${url}/${route.id}`)
    expect((await api.get(`${url}/${route.id}`)).body).toEqual(route)

    const patched = await api.patch(`${url}/${route.id}`, { metric: null, gateway: '10.0.0.253' })
    const changed = routeOf(patched, 200)
    expect(changed).toMatchObject({ ...shown, metric: null, gateway: '10.0.0.253', generation: 2 })
    expectStatus(204, await api.delete(`${url}/${route.id}`))
    for (const gone of [
      await api.get(`${url}/${route.id}`),
      await api.patch(`${url}/${route.id}`, { metric: 1 }),
      await api.delete(`${url}/${route.id}`),
    ]) {
      expectProblem(gone, 'block_route_not_found', { status: 404 })
    }
    expect(await eventsOf()).toMatchObject([
      { type: 'block_route.created', object_id: route.id, project_id: 'red', data: route },
      { type: 'block_route.updated', data: changed },
      { type: 'block_route.deleted', data: changed },
    ])
  })

  test('is kept in the one spelling of its addresses', async () => {
    block = await api.createBlock('2001:db8::/64')
    url = `/v2/blocks/${block.id}/routes`
    const route = await add('2001:DB8:1:0::/48', 'FE80::0:1')
    expect(route).toMatchObject({ destination: '2001:db8:1::/48', gateway: 'fe80::1' })
    expectProblem(
      await api.post(url, { destination: '2001:db8:0001::/48', gateway: '2001:db8::1' }),
      'block_route_exists',
      { status: 409, field: 'destination' },
    )
    expect((await api.get(`${url}?destination=2001:DB8:1::/48`)).body.routes).toEqual([route])
  })

  test('is the only one of the block to its destination, also when many add it', async () => {
    const request = { destination: '192.0.2.0/24', gateway: '10.0.0.1' }
    const answers = await Promise.all(Array.from({ length: 6 }, () => api.post(url, request)))
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, ...Array(5).fill(409)])
    const other = await add('198.51.100.0/24', '10.0.0.1')
    const taken = await api.patch(`${url}/${other.id}`, { destination: '192.0.2.0/24' })
    expectProblem(taken, 'block_route_exists', { status: 409 })
    expect(await eventsOf()).toHaveLength(2)
    const sibling = await api.createBlock('10.0.1.0/24')
    expectStatus(201, await api.post(`/v2/blocks/${sibling.id}/routes`, request))
  })

  test('is found under its own block alone', async () => {
    const route = await add('192.0.2.0/24', '10.0.0.1')
    const sibling = await api.createBlock('10.0.1.0/24')
    const elsewhere = `/v2/blocks/${sibling.id}/routes/${route.id}`
    expectProblem(await api.get(elsewhere), 'block_route_not_found')
    expectProblem(await api.delete(elsewhere), 'block_route_not_found')
    for (const missing of [
      await api.get(`/v2/blocks/${nowhere}/routes`),
      await api.get(`/v2/blocks/${nowhere}/routes/${route.id}`),
      await api.post(`/v2/blocks/${nowhere}/routes`, {
        destination: '192.0.2.0/24',
        gateway: '10.0.0.1',
      }),
    ]) {
      expectProblem(missing, 'block_not_found', { status: 404 })
    }
  })

  test.each([
    ['destination', { destination: '192.0.2.0', gateway: '10.0.0.1' }],
    ['destination', { destination: '2001:db8::/64', gateway: '10.0.0.1' }],
    ['destination', { gateway: '10.0.0.1' }],
    ['gateway', { destination: '192.0.2.0/24', gateway: '10.0.0.0/24' }],
    ['gateway', { destination: '192.0.2.0/24', gateway: 'fe80::1' }],
    ['gateway', { destination: '192.0.2.0/24', gateway: '224.0.0.1' }],
    ['gateway', { destination: '192.0.2.0/24', gateway: '255.255.255.255' }],
    ['metric', { destination: '192.0.2.0/24', gateway: '10.0.0.1', metric: -1 }],
    ['mask', { destination: '192.0.2.0/24', gateway: '10.0.0.1', mask: 24 }],
  ])('is refused for its %s as in %j', async (field, request) => {
    expectProblem(await api.post(url, request), 'invalid_request', { field })
    expect((await api.get(url)).body.routes).toEqual([])
  })

  test('has no host bits', async () => {
    const refused = await api.post(url, { destination: '192.0.2.1/24', gateway: '10.0.0.1' })
    const facts = { field: 'destination', suggestion: '192.0.2.0/24' }
    expectProblem(refused, 'cidr_has_host_bits', facts)
  })

  test('may lead to what is on the link itself, and may be the default', async () => {
    expect(await add('0.0.0.0/0', '10.0.0.1')).toMatchObject({ destination: '0.0.0.0/0' })
    expect(await add('10.9.0.0/16', '0.0.0.0')).toMatchObject({ gateway: '0.0.0.0' })
  })
})

describe('the routes of a block', () => {
  test('come in the order of their destinations, page by page', async () => {
    const destinations = ['198.51.100.0/24', '0.0.0.0/0', '192.0.2.0/25', '192.0.2.0/24']
    for (const [n, one] of destinations.entries()) await add(one, `10.0.0.${1 + (n % 2)}`)
    const inOrder = ['0.0.0.0/0', '192.0.2.0/24', '192.0.2.0/25', '198.51.100.0/24']
    const pages = await api.pages('routes', `${url}?limit=2`)
    expect(pages.map(page => page.map(({ destination }) => destination))).toEqual([
      inOrder.slice(0, 2),
      inOrder.slice(2),
    ])
    const { routes } = (await api.get(`${url}?gateway=10.0.0.1`)).body
    expect(routes.map(({ destination }) => destination)).toEqual(['192.0.2.0/25', inOrder[3]])
    expectProblem(await api.get(`${url}?marker=x`), 'marker_invalid')
    expectProblem(await api.get(`${url}?destination=192.0.2.1/24`), 'cidr_has_host_bits')
  })

  test('are bounded in number', async () => {
    await api.db.query(sql`
      insert into block_routes (id, block_id, destination, gateway, description)
      select gen_random_uuid(), ${block.id}, set_masklen('10.0.0.0'::inet + n * 256, 24), '10.0.0.1',
        'one of many'
      from generate_series(1, 255) n`)
    const last = await add('192.0.2.0/24', '10.0.0.1')
    const refused = await api.post(url, { destination: '192.0.3.0/24', gateway: '10.0.0.1' })
    expectProblem(refused, 'block_route_limit_reached', { status: 409 })
    expectStatus(204, await api.delete(`${url}/${last.id}`))
    await add('192.0.3.0/24', '10.0.0.1')
    await api.db.query(sql`delete from block_routes where description = 'one of many'`)
  })

  test('go with their block, each with its event', async () => {
    const routes = [await add('192.0.2.0/24', '10.0.0.1'), await add('0.0.0.0/0', '10.0.0.1')]
    expectStatus(204, await api.delete(`/v2/blocks/${block.id}`))
    const events = (await eventsOf()).slice(2)
    expect(events.map(({ type }) => type)).toEqual(Array(2).fill('block_route.deleted'))
    const ids = events.map(({ object_id }) => object_id)
    expect(ids.toSorted()).toEqual(routes.map(({ id }) => id).toSorted())
    const { events: all } = (await api.get('/v2/events')).body
    expect(all.at(-1)).toMatchObject({ type: 'block.deleted', object_id: block.id })
  })

  test('never outlive a block that is deleted meanwhile', async () => {
    const request = { destination: '192.0.2.0/24', gateway: '10.0.0.1' }
    const [added, deleted] = await Promise.all([
      api.post(url, request),
      api.delete(`/v2/blocks/${block.id}`),
    ])
    expect(deleted.status).toBe(204)
    expect(added.status).toBeOneOf([201, 404])
    const types = (await eventsOf()).map(({ type }) => type)
    const both = ['block_route.created', 'block_route.deleted']
    expect(types).toEqual(added.status === 201 ? both : [])
  })
})
