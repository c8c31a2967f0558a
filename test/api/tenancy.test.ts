import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ruleDefaults } from '../../src/policy/defaults.ts'
import { buildRules, type Rules } from '../../src/policy/rules.ts'
import { Api, adminToken, expectStatus, useApi } from '../helpers/api.ts'

// What a tenant may reach through the API of v0.1 and v1.0.

const api = useApi()
/** The same data under rules of the test. */
let ruled: Api
let rules: Rules = buildRules(ruleDefaults)
beforeAll(async () => {
  ruled = await new Api().open({ db: api.db, rules: () => rules })
})
afterAll(() => ruled.app.close())

async function tokenOf(request: object): Promise<string> {
  const made = await api.post('/v2/tokens', { name: 'one', ...request })
  return String(expectStatus(201, made).secret)
}
const memberOf = (project_id: string, role = 'member') => tokenOf({ project_id, roles: [role] })

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE'
async function call(token: string, method: Method, path: string, body?: object, of = api) {
  const { statusCode, payload, headers } = await of.app.inject({
    method,
    url: path,
    headers: { 'x-auth-token': token, ...(body && { 'content-type': 'application/json' }) },
    ...(body && { payload: body }),
  })
  const isJson = String(headers['content-type']).includes('json') && payload !== ''
  return { status: statusCode, text: payload, body: isJson ? JSON.parse(payload) : null, headers }
}
const statusOf = async (...request: Parameters<typeof call>) => (await call(...request)).status

const blocksOf = (tenant: string) => `/v1.0/ipam/tenants/${tenant}/ip_blocks`
const blockBody = (more: object = {}) => ({
  ip_block: { type: 'private', cidr: '10.0.0.0/28', network_id: 'net', ...more },
})
const placeOf = (tenant: string, vif: string) =>
  `/v0.1/ipam/tenants/${tenant}/networks/net/interfaces/${vif}/ip_allocations`

describe('the path', () => {
  test('of the own tenant is open, and that of another, or of none, is not', async () => {
    const token = await memberOf('red')
    expect(await statusOf(token, 'POST', blocksOf('red'), blockBody())).toBe(201)
    const closed = [
      blocksOf('blue'),
      '/v1.0/ipam/mac_address_ranges',
      '/v0.1/ipam/allocated_ip_addresses',
      '/v0.1/ipam/instances/vm/interfaces',
      '/v1.0/nowhere',
      '/v1.0/ipam/tenants/red',
      '/v1.0/ipam/tenants//red/ip_blocks/../../blue/ip_blocks',
    ]
    for (const path of closed) {
      const { status, text, headers } = await call(token, 'GET', path)
      expect([path, status]).toEqual([path, 403])
      expect(headers['content-type']).toBe('text/plain')
      expect(text).toBe(
        '403 Forbidden\n\nAccess was denied to this resource.\n\nUser with tenant id red cannot access this resource\n',
      )
    }
    expect(await statusOf(token, 'GET', '/v1.0/ipam/tenants/red/nowhere')).toBe(404)
  })

  test('is that which the routes see, however it is written', async () => {
    const token = await memberOf('red')
    await call(adminToken, 'POST', blocksOf('blue'), blockBody())
    const tricks = [
      '/v1.0/ipam/tenants/%62lue/ip_blocks',
      '/v1.0//ipam//tenants/blue//ip_blocks',
      '/v1.0/ipam/mac_address_ranges/tenants/red/x',
      '/v1.0/ipam/instances/tenants/interfaces?/ipam/tenants/red/',
      '/v1.0/ipam/tenants/blue/ip_blocks?x=/tenants/red/',
      '/v1.0/ipam/tenants/blue/ip_blocks.json',
      '/v1.0/ipam/instances/x%2Ftenants%2Fred%2Finterfaces',
    ]
    for (const path of tricks)
      expect([path, await statusOf(token, 'GET', path)]).toEqual([path, 403])
    // It is below the own path, where nothing is called so.
    const dots = '/v1.0/ipam/tenants/red%2F..%2Fblue/ip_blocks'
    expect(await statusOf(token, 'GET', dots)).toBe(404)
    expect(await statusOf(token, 'GET', '/v1.0//ipam/tenants/%72ed/ip_blocks.json')).toBe(200)
  })

  test('is looked at before the body', async () => {
    const token = await memberOf('red')
    const answer = await api.app.inject({
      method: 'POST',
      url: blocksOf('blue'),
      headers: { 'x-auth-token': token, 'content-type': 'application/json' },
      payload: '{',
    })
    expect(answer.statusCode).toBe(403)
  })

  test.each([
    ['admin', { system_scope: 'all', roles: ['admin'] }, [200, 200, 200]],
    ['admin of a project', { project_id: 'blue', roles: ['admin'] }, [200, 200, 200]],
    ['service', { project_id: 'service', roles: ['service'] }, [200, 200, 200]],
    ['manager', { project_id: 'red', roles: ['manager'] }, [200, 403, 403]],
    ['reader', { project_id: 'red', roles: ['reader'] }, [403, 403, 403]],
    ['auditor', { system_scope: 'all', roles: ['reader'] }, [403, 403, 403]],
  ])('for whom: %s', async (_name, request, statuses) => {
    const token = await tokenOf(request)
    const paths = [blocksOf('red'), blocksOf('blue'), '/v1.0/ipam/mac_address_ranges']
    expect(await Promise.all(paths.map(path => statusOf(token, 'GET', path)))).toEqual(statuses)
  })
})

describe('rules of a file', () => {
  test('decide, from one request to the next', async () => {
    const token = await memberOf('red', 'reader')
    const get = (path: string) => statusOf(token, 'GET', path, undefined, ruled)
    const paths = [blocksOf('red'), blocksOf('blue'), '/v1.0/ipam/mac_address_ranges']
    const all = () => Promise.all(paths.map(get))
    expect(await all()).toEqual([403, 403, 403])
    rules = buildRules(ruleDefaults, { 'melange_v1:tenant': 'role:reader' })
    expect(await all()).toEqual([200, 200, 403])
    rules = buildRules(ruleDefaults, { 'melange_v1:global': 'role:reader' })
    expect(await all()).toEqual([403, 403, 200])
    rules = buildRules(ruleDefaults, { 'melange_v1:tenant': '!', 'melange_v1:global': '!' })
    const admin = paths.map(path => statusOf(adminToken, 'GET', path, undefined, ruled))
    expect(await Promise.all(admin)).toEqual([403, 403, 403])
    rules = buildRules(ruleDefaults)
    expect(await all()).toEqual([403, 403, 403])
  })
})

describe('below the own path', () => {
  test('nothing is made for another tenant', async () => {
    const token = await memberOf('red')
    const block = (await call(token, 'POST', blocksOf('red'), blockBody())).body.ip_block
    const foreign = { tenant_id: 'blue', interface_id: 'vif-2' }
    const addresses = `${blocksOf('red')}/${block.id}/ip_addresses`
    expect(await statusOf(token, 'POST', addresses, { ip_address: foreign })).toBe(403)
    const subnet = { subnet: { cidr: '10.0.0.0/29', tenant_id: 'blue' } }
    const subnets = `${blocksOf('red')}/${block.id}/subnets`
    expect(await statusOf(token, 'POST', subnets, subnet)).toBe(403)
    expect(await statusOf(token, 'POST', placeOf('red', 'v'), { network: foreign })).toBe(403)
    expect((await call(adminToken, 'GET', addresses)).body.ip_addresses).toEqual([])
    expect(await statusOf(token, 'POST', placeOf('red', 'v'))).toBe(201)
  })

  test('the interface of another tenant is out of reach', async () => {
    const token = await memberOf('red')
    await call(token, 'POST', blocksOf('red'), blockBody())
    const foreign = { network: { tenant_id: 'blue' } }
    expect(await statusOf(adminToken, 'POST', placeOf('red', 'theirs'), foreign)).toBe(201)
    for (const method of ['GET', 'DELETE'] as const) {
      expect(await statusOf(token, method, placeOf('red', 'theirs'))).toBe(403)
    }
    const { body } = await call(adminToken, 'GET', placeOf('red', 'theirs'))
    expect(body.ip_addresses).toHaveLength(1)
  })

  test('public space and networks of others are not to be taken', async () => {
    const [red, blue] = [await memberOf('red'), await memberOf('blue')]
    const own = { type: 'public', cidr: '192.0.2.0/28', network_id: 'open' }
    expect(await statusOf(red, 'POST', blocksOf('red'), { ip_block: own })).toBe(403)
    expect(await statusOf(red, 'POST', blocksOf('red'), blockBody())).toBe(201)
    const join = blockBody({ cidr: '10.9.0.0/28' })
    expect(await statusOf(blue, 'POST', blocksOf('blue'), join)).toBe(403)
    const made = await call(adminToken, 'POST', blocksOf('red'), { ip_block: own })
    const path = `${blocksOf('red')}/${made.body.ip_block.id}`
    expect(await statusOf(red, 'GET', path)).toBe(200)
    expect(await statusOf(red, 'PUT', path, { ip_block: { dns1: '192.0.2.9' } })).toBe(403)
    expect(await statusOf(red, 'DELETE', path)).toBe(403)
    const cut = { subnet: { cidr: '192.0.2.0/29' } }
    expect(await statusOf(red, 'POST', `${path}/subnets`, cut)).toBe(403)
  })

  test('a policy of another tenant is not there, and stays where an admin put it', async () => {
    const [red, blue] = [await memberOf('red'), await memberOf('blue')]
    const policies = '/v1.0/ipam/tenants/blue/policies'
    const { body } = await call(blue, 'POST', policies, { policy: { name: 'of blue' } })
    const policy_id = body.policy.id
    const wanted = blockBody({ policy_id })
    const [found, missing] = [
      await call(red, 'POST', blocksOf('red'), wanted),
      await call(red, 'POST', blocksOf('red'), blockBody({ policy_id: 'none' })),
    ]
    expect([found.status, missing.status]).toEqual([400, 400])
    expect(found.text).toBe(missing.text.replace("'none'", `'${policy_id}'`))
    const own = await call(red, 'POST', blocksOf('red'), blockBody())
    const path = `${blocksOf('red')}/${own.body.ip_block.id}`
    const change = { ip_block: { policy_id } }
    expect(await statusOf(red, 'PUT', path, change)).toBe(400)
    expect(await statusOf(adminToken, 'PUT', path, change)).toBe(200)
    expect(await statusOf(red, 'PUT', path, { ip_block: { dns1: '192.0.2.9' } })).toBe(200)
    expect(
      await statusOf(blue, 'POST', blocksOf('blue'), {
        ip_block: { ...wanted.ip_block, network_id: 'blue' },
      }),
    ).toBe(201)
  })

  test("Nova, a service, names the network's tenant in the path and the instance's in the body", async () => {
    const nova = await tokenOf({ project_id: 'service', roles: ['service'] })
    await call(adminToken, 'POST', blocksOf('provider'), blockBody())
    const network = { network: { tenant_id: 'red' } }
    expect(await statusOf(nova, 'POST', placeOf('provider', 'vif'), network)).toBe(201)
    expect(await statusOf(nova, 'GET', '/v0.1/ipam/tenants/red/interfaces/vif')).toBe(200)
    expect(await statusOf(nova, 'GET', placeOf('provider', 'vif'))).toBe(200)
    expect(await statusOf(nova, 'DELETE', '/v0.1/ipam/interfaces/vif')).toBe(200)
  })
})
