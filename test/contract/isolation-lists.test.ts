import { describe, expect, test } from 'vitest'
import { expectProblem, expectStatus } from '../helpers/api.ts'
import { operationsOf } from '../helpers/contract.ts'
import { openWorld } from '../helpers/isolation.ts'
import type { Persona } from '../helpers/personas.ts'

// I10: what lists tell of.

const { api, world, tokens } = await openWorld()

const get = (persona: Persona, url: string) =>
  api.send({ method: 'GET', url, headers: { 'x-auth-token': tokens[persona] } })

/** For each list what it is of, and a query that finds more than the list does by itself. */
const lists: Readonly<Record<string, { kind?: string; query?: string; isReadByAll?: false }>> = {
  listAddressScopes: { kind: 'address_scope' },
  listNetworks: { kind: 'network' },
  listBlocks: { kind: 'block' },
  listPolicies: { kind: 'policy' },
  listAllocations: { kind: 'allocation', query: 'state=all' },
  listFloatingIps: { kind: 'floating_ip' },
  listFloatingIpAssociations: {},
  listNatMappings: { kind: 'nat_mapping', query: 'state=all' },
  listQuarantine: {},
  listLeases: { kind: 'lease' },
  listWithheldAddresses: { kind: 'withheld' },
  listEvents: { kind: 'network', query: 'after=0' },
  listMacRanges: { kind: 'mac_range' },
  listMacs: { kind: 'mac', query: 'state=all' },
  listInterfaces: { kind: 'interface' },
  listInterfacePeriods: { kind: 'interface' },
  listAllowedAddresses: { kind: 'interface' },
  listAllowedPeriods: { kind: 'interface' },
  listQuotas: {},
  listGrants: { kind: 'grant' },
  listTokens: { kind: 'token', isReadByAll: false },
  listAuditTrail: { kind: 'network', isReadByAll: false },
}

/** Of these the lists tell what is granted, too. */
const grantable = ['network', 'block', 'grant']

/** What is read without a thing in the path, and is no list of things. */
const noLists = [
  'listKnownDhcpOptions',
  'listAllocationChanges',
  'getDeviceInterfaces',
  'getDeviceConfiguration',
  'getDeviceNetworkData',
]

const found = () =>
  operationsOf(api.app).filter(
    ({ method, path }) =>
      method === 'GET' && path.startsWith('/v2/') && !/\{(?!device_id)/.test(path),
  )

test('every list has an entry here', () => {
  const ids = found().map(({ operationId }) => operationId)
  expect(ids.toSorted()).toEqual([...Object.keys(lists), ...noLists].toSorted())
})

/** All pages of a list, as text. */
async function readAll(persona: Persona, url: string): Promise<string> {
  let text = ''
  for (let next: string | undefined = url; next; ) {
    const body = expectStatus(200, await get(persona, next))
    text += JSON.stringify(body)
    const { events, cursor } = body
    next = body.links?.[0]?.href
    if (events?.length === 1000) next = `/v2/events?limit=1000&after=${cursor}`
  }
  return text
}

describe.each(Object.entries(lists))('%s', (operationId, { kind, query = '', isReadByAll }) => {
  // What is done to a thing is told to its owner, not to those who may use it.
  const tellsOfChanges = operationId === 'listEvents' || operationId === 'listAuditTrail'
  const path = () => String(found().find(one => one.operationId === operationId)?.path)
  const takesProject = () =>
    found()
      .find(one => one.operationId === operationId)
      ?.parameters?.some(({ name }) => name === 'project_id')

  test('tells a manager of what is own, and of nothing foreign', async () => {
    const text = await readAll('manager', `${path()}?limit=1000&${query}`)
    if (!grantable.includes(kind ?? '')) expect(text).not.toContain('"blue"')
    if (!kind) return
    const granted = world.idOf(kind, 'granted')
    if (granted && !tellsOfChanges) expect(text).toContain(granted)
    expect(text).toContain(String(world.idOf(kind, 'own')))
    expect(text).not.toContain(String(world.idOf(kind, 'foreign')))
    const shared = world.idOf(kind, 'shared')
    if (kind === 'address_scope') expect(text).toContain('"public"')
    else if (shared) expect(text).not.toContain(shared)
  })

  test('tells by pages what it tells at once', async () => {
    const all = await readAll('manager', `${path()}?limit=1000&${query}`)
    const pages = await readAll('manager', `${path()}?limit=1&${query}`)
    if (kind && operationId !== 'listEvents') {
      const own = String(world.idOf(kind, 'own'))
      expect(pages.includes(own)).toBe(all.includes(own))
    }
    const granted = kind ? world.idOf(kind, 'granted') : null
    if (granted && !tellsOfChanges) expect(pages).toContain(granted)
    else expect(pages).not.toContain('"blue"')
  })

  test('tells those of all projects of everything', async () => {
    const text = await readAll('reader of the system', `${path()}?limit=1000&${query}`)
    if (!kind) return
    expect(text).toContain(String(world.idOf(kind, 'own')))
    expect(text).toContain(String(world.idOf(kind, 'foreign')))
  })

  test('is refused to who asks for another project by name, whether or not it is there', async () => {
    if (!takesProject()) return
    for (const project of ['blue', 'no-such-project']) {
      const refused = await get('manager', `${path()}?project_id=${project}&${query}`)
      expectProblem(refused, 'forbidden', { status: 403 })
      expectStatus(200, await get('reader of the system', `${path()}?project_id=${project}`))
    }
    expectStatus(200, await get('manager', `${path()}?project_id=red&${query}`))
  })

  test('is refused to who may read nothing', async () => {
    expectProblem(await get('none', path()), 'forbidden')
    if (isReadByAll !== false) expectStatus(200, await get('reader', path()))
  })
})

test('the interfaces of a device are those of the own project', async () => {
  const device = 'device-of-both'
  for (const whose of ['own', 'foreign'] as const) {
    const id = world.idOf('interface', whose)
    expectStatus(200, await api.patch(`/v2/interfaces/${id}`, { device_id: device }))
  }
  for (const path of ['interfaces', 'configuration', 'network-data']) {
    const url = `/v2/devices/${device}/${path}`
    const text = JSON.stringify(expectStatus(200, await get('reader', url)))
    expect(text).toContain(String(world.idOf('interface', 'own')))
    expect(text).not.toContain(String(world.idOf('interface', 'foreign')))
    expectProblem(await get('reader', `${url}?project_id=blue`), 'forbidden')
  }
})

test('who waits for events is told of own ones alone', async () => {
  const { cursor } = expectStatus(200, await get('reader', '/v2/events?after=latest'))
  const waiting = get('reader', `/v2/events?after=${cursor}&wait=5`)
  expectStatus(201, await api.post('/v2/networks', { project_id: 'blue' }))
  const { id } = expectStatus(201, await api.post('/v2/networks', { project_id: 'red' }))
  const { events } = expectStatus(200, await waiting)
  expect(events.map(({ object_id }) => object_id)).toEqual([id])
})

test('an object of another project has no entity tag for who names it', async () => {
  const id = world.idOf('network', 'foreign')
  const headers = { 'x-auth-token': tokens.reader, 'if-none-match': '"1", *' }
  const answer = await api.send({ method: 'GET', url: `/v2/networks/${id}`, headers })
  expect(answer.status).toBe(404)
  expect(answer.headers).not.toHaveProperty('etag')
})

test('what a server counts is for those who see all', async () => {
  expect(
    (await api.app.inject({ url: '/metrics', headers: { 'x-auth-token': tokens.manager } }))
      .statusCode,
  ).toBe(403)
  const headers = { 'x-auth-token': tokens['reader of the system'] }
  expect((await api.app.inject({ url: '/metrics', headers })).statusCode).toBe(200)
})

test('who has an address of an own block is told only if it may be seen', async () => {
  const block = String(world.idOf('block', 'own'))
  const payload = { block_id: block, project_id: 'blue' }
  const { allocations } = expectStatus(201, await api.post('/v2/allocations', payload))
  const url = `/v2/blocks/${block}/addresses/${allocations[0]?.address}`
  expectStatus(200, await get('reader', url))
  expect(await get('reader', url)).toMatchObject({
    body: { state: 'allocated', allocation_id: null },
  })
  expect(await get('service', url)).toMatchObject({ body: { allocation_id: allocations[0]?.id } })
})
