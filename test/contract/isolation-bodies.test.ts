import { describe, expect, test } from 'vitest'
import { type Answer, expectProblem, expectStatus } from '../helpers/api.ts'
import { operationsOf } from '../helpers/contract.ts'
import { kinds, openWorld } from '../helpers/isolation.ts'
import type { Persona } from '../helpers/personas.ts'

// I10: what the bodies of requests name.

const { api, world, tokens } = await openWorld()

type Request = { readonly method: 'POST' | 'PATCH' | 'PUT'; readonly url: string; payload: object }
const send = (persona: Persona, { method, url, payload }: Request, more: object = {}) =>
  api.send({ method, url, payload, headers: { 'x-auth-token': tokens[persona], ...more } })

type Body = (id: (kind: string) => string) => Omit<Request, 'payload'> & { payload: object }

let made = 0
const post = (url: string, payload: object) => ({ method: 'POST' as const, url, payload })
const nextCidr = () => `172.16.${made++}.0/24`

/** A body for each operation on no thing of the path, or that names things; all of them are own. */
const bodies: Readonly<Record<string, Body>> = {
  createAddressScope: id =>
    post('/v2/address-scopes', { name: `s-${made++}`, policy_id: id('policy') }),
  createNetwork: id => post('/v2/networks', { policy_id: id('policy') }),
  createBlock: id =>
    post('/v2/blocks', {
      scope_id: id('address_scope'),
      cidr: nextCidr(),
      network_id: id('network'),
      policy_id: id('policy'),
    }),
  createPolicy: () => post('/v2/policies', { name: `p-${made++}` }),
  createAllocations: id => post('/v2/allocations', { block_id: id('block') }),
  createAllocationsInBulk: id =>
    post('/v2/allocations/bulk', { items: [{ block_id: id('block') }], on_error: 'abort' }),
  releaseAllocations: id =>
    post('/v2/allocations/release', { allocations: [{ id: id('allocation') }] }),
  renewAllocations: () => post('/v2/allocations/renew', { owner_id: 'vm', lifetime_seconds: 60 }),
  createFloatingIp: id => post('/v2/floating-ips', { block_id: id('public_block') }),
  createNatMapping: id =>
    post('/v2/nat-mappings', {
      inside_local_id: id('allocation'),
      inside_global_id: id('allocation'),
    }),
  endQuarantines: id => post('/v2/quarantine/end', { block_id: id('block') }),
  createMac: id => post('/v2/macs', { range_id: id('mac_range'), network_id: id('network') }),
  createInterface: id =>
    post('/v2/interfaces', {
      network_id: id('network'),
      mac_range_id: id('mac_range'),
      families: [],
    }),
  setDeviceInterfaces: id => ({
    method: 'PUT',
    url: '/v2/devices/some-device/interfaces',
    payload: {
      interfaces: [{ network_id: id('network'), mac_range_id: id('mac_range'), families: [] }],
    },
  }),
  createGrant: id => post('/v2/grants', { block_id: id('block'), project_id: `project-${made++}` }),
  createToken: () => post('/v2/tokens', { name: `t-${made++}`, roles: ['reader'] }),
}
/** Only admins, or services, do these, whatever they name. */
const onlyByAdmins = ['createMacRange', 'reportLeases']

/** Bodies of changes that name things beside that of the path. */
const patches: Readonly<Record<string, Body>> = {
  updateAddressScope: id => ({
    method: 'PATCH',
    url: `/v2/address-scopes/${world.idOf('address_scope', 'own')}`,
    payload: { policy_id: id('policy') },
  }),
  updateNetwork: id => ({
    method: 'PATCH',
    url: `/v2/networks/${world.idOf('network', 'own')}`,
    payload: { policy_id: id('policy') },
  }),
  updateBlock: id => ({
    method: 'PATCH',
    url: `/v2/blocks/${world.idOf('block', 'own')}`,
    payload: { policy_id: id('policy') },
  }),
  createChildren: id => ({
    method: 'POST',
    url: `/v2/blocks/${world.idOf('block', 'own')}/children`,
    payload: { prefix_length: 28, count: 1, network_id: id('network') },
  }),
  'createBlock in a parent': id =>
    post('/v2/blocks', { parent_id: id('block'), cidr: '10.255.255.0/30' }),
  'createGrant of a network': id =>
    post('/v2/grants', { network_id: id('network'), project_id: `project-${made++}` }),
  'createAllocations of a network': id =>
    post('/v2/allocations', { network_id: id('network'), families: [4] }),
  'createFloatingIp with a target': id =>
    post('/v2/floating-ips', {
      block_id: String(world.idOf('public_block', 'own')),
      private_allocation_id: id('allocation'),
    }),
  updateFloatingIp: id => ({
    method: 'PATCH',
    url: `/v2/floating-ips/${world.idOf('floating_ip', 'own')}`,
    payload: { private_allocation_id: id('allocation') },
  }),
}

const all = { ...bodies, ...patches }
const absent = 'ffffffff-ffff-7fff-8fff-ffffffffffff'

test('every write to no thing of the path has a body here', () => {
  const ids = operationsOf(api.app)
    .filter(({ method, path }) => method !== 'GET' && path.startsWith('/v2/'))
    .filter(({ path }) => {
      const parameter = /\{(\w+)\}/.exec(path)?.[1]
      return parameter === undefined || (!kinds[parameter] && parameter !== 'project_id')
    })
    .map(({ operationId }) => operationId)
  expect(ids.toSorted()).toEqual([...Object.keys(bodies), ...onlyByAdmins].toSorted())
})

/** A request with own things, but for the one of that number, which has this id. */
async function requestWith(body: Body, place: number, id: string | null): Promise<Request> {
  const own: string[] = []
  const wanted: string[] = []
  body(kind => {
    wanted.push(kind)
    return ''
  })
  for (const kind of wanted) own.push(String(await world.fresh(kind, 'own')))
  let number = 0
  return body(() => {
    const at = number++
    return at === place && id !== null ? id : (own[at] ?? '')
  })
}

const placesOf = (body: Body): string[] => {
  const wanted: string[] = []
  body(kind => {
    wanted.push(kind)
    return ''
  })
  return wanted
}

const textOf = ({ status, body }: Answer, id: string) =>
  `${status} ${JSON.stringify(body)}`.replaceAll(id, 'ID')

describe.each(Object.keys(all))('%s', name => {
  const body = all[name] as Body

  test('with own things is not refused to a manager', async () => {
    const answer = await send('manager', await requestWith(body, -1, null))
    expect([name, answer.status]).not.toEqual([name, 403])
    expect(answer.body?.code ?? '').not.toMatch(/not_found$/)
  })

  test('with a foreign thing is answered as with one that is not there', async () => {
    for (const [place, kind] of placesOf(body).entries()) {
      const foreign = String(await world.fresh(kind, 'foreign'))
      const one = await send('manager', await requestWith(body, place, foreign))
      const other = await send('manager', await requestWith(body, place, absent))
      expect(textOf(one, foreign)).toBe(textOf(other, absent))
      expect([name, one.status]).toEqual([name, 404])
    }
  })
})

/** Bodies that take addresses from what they name, or change it, or but name it. */
const takers: Readonly<Record<string, number>> = {
  createAllocations: 201,
  createAllocationsInBulk: 200,
  createFloatingIp: 201,
  createInterface: 201,
  setDeviceInterfaces: 200,
  'createAllocations of a network': 409,
}
const grantable = ['network', 'block', 'public_block']
test.each(Object.keys(all))(
  '%s with a granted thing takes addresses, and changes nothing',
  async name => {
    const body = all[name] as Body
    for (const [place, kind] of placesOf(body).entries()) {
      if (!grantable.includes(kind)) continue
      const granted = String(await world.fresh(kind, 'granted'))
      const request = await requestWith(body, place, granted)
      const { status } = await send('manager', request)
      const isNamed = name === 'createMac' || name === 'endQuarantines'
      if (isNamed) expect([name, status < 500]).toEqual([name, true])
      else expect([name, status]).toEqual([name, takers[name] ?? 403])
    }
  },
)

test.each(Object.keys(bodies).filter(name => name !== 'createGrant'))(
  '%s is done for no other project',
  async name => {
    const request = await requestWith(bodies[name] as Body, -1, null)
    const payload: Record<string, unknown> = { ...request.payload }
    if (Array.isArray(payload.items)) {
      payload.items = payload.items.map(one => ({ ...one, project_id: 'blue' }))
    } else payload.project_id = 'blue'
    const takesNone = ['releaseAllocations', 'endQuarantines', 'createNatMapping'].includes(name)
    const answer = await send('manager', { ...request, payload })
    expectProblem(answer, takesNone ? 'invalid_request' : 'forbidden')
  },
)

test('what a project is not named for is made for the own one', async () => {
  for (const [name, kind] of [
    ['createNetwork', 'network'],
    ['createPolicy', 'policy'],
    ['createAddressScope', 'address_scope'],
  ] as const) {
    const { body } = await send('member', await requestWith(bodies[name] as Body, -1, null))
    expect([kind, body.project_id]).toEqual([kind, 'red'])
  }
  const request = post('/v2/networks', {})
  expect((await send('admin of the system', request)).body.project_id).toBe(null)
  expect((await send('admin of a project', request)).body.project_id).toBe(null)
})

test('each of many is refused by itself', async () => {
  const own = String(await world.fresh('block', 'own'))
  const foreign = String(await world.fresh('block', 'foreign'))
  const items = [{ block_id: own }, { block_id: foreign }, { block_id: absent }]
  const { outcomes } = expectStatus(
    200,
    await send('member', post('/v2/allocations/bulk', { items, on_error: 'continue' })),
  ) as unknown as { outcomes: { status: number; problem?: { code: string } }[] }
  expect(outcomes.map(({ status }) => status)).toEqual([201, 404, 404])
  const [held, other] = [
    String(await world.fresh('allocation', 'own')),
    String(await world.fresh('allocation', 'foreign')),
  ]
  const allocations = [{ id: other }, { id: held }, { id: absent }]
  const released = expectStatus(
    200,
    await send('member', post('/v2/allocations/release', { allocations, on_error: 'continue' })),
  ) as unknown as { outcomes: { status: number }[] }
  expect(released.outcomes.map(({ status }) => status)).toEqual([404, 200, 404])
  expect(expectStatus(200, await api.get(`/v2/allocations/${other}`)).ended_at).toBe(null)
})

test('quarantines of others are not ended, and not counted', async () => {
  const ids = [String(await world.fresh('allocation', 'foreign')), absent]
  const request = post('/v2/quarantine/end', { allocation_ids: ids })
  expect(expectStatus(200, await send('manager', request)).ended).toBe(0)
})

test('what was done under a key is answered again when what it named is gone', async () => {
  const network = String(await world.fresh('network', 'own'))
  const headers = { 'x-auth-token': tokens.manager, 'idempotency-key': 'gone' }
  const gone = { method: 'DELETE' as const, url: `/v2/networks/${network}`, headers }
  expect((await api.send(gone)).status).toBe(204)
  expect(await api.send(gone)).toMatchObject({
    status: 204,
    headers: { 'idempotency-replayed': 'true' },
  })
  const other = { ...headers, 'idempotency-key': 'another' }
  expectProblem(await api.send({ ...gone, headers: other }), 'network_not_found')
})

test('addresses are taken from shared blocks as floating IPs alone', async () => {
  const shared = String(await world.fresh('public_block', 'shared'))
  const floating = await send('member', post('/v2/floating-ips', { block_id: shared }))
  expect(floating.status).toBe(201)
  expectProblem(
    await send('member', post('/v2/allocations', { block_id: shared })),
    'block_not_found',
  )
})

test('what is in the way is named only to who may see it', async () => {
  const cidr = '203.0.113.0/24'
  await api.createBlock(cidr, { project_id: 'blue' })
  const scope = String(world.idOf('address_scope', 'own'))
  const inside = await api.createBlock('172.31.0.0/16', { scope_id: scope, project_id: 'blue' })
  const request = post('/v2/blocks', { scope_id: scope, cidr: '172.31.0.0/24' })
  const refused = await send('manager', request)
  expectProblem(refused, 'block_overlaps', { conflicts: [] })
  expect(JSON.stringify(refused.body)).not.toContain(inside.id)
  expect(JSON.stringify(refused.body)).not.toContain('172.31.0.0/16')
  const told = await send('admin of the system', request)
  expectProblem(told, 'block_overlaps', { conflicts: [{ id: inside.id }] })
})
