import { beforeEach, expect, test } from 'vitest'
import type { ServedHost } from '../../src/dhcp/served.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import { type Answer, expectProblem, expectStatus, useApi } from '../helpers/api.ts'
import { createInterface } from '../helpers/interfaces.ts'

// What a server for machines does, with a token of role `service` of a project of its own.

const api = useApi()
let token: string
let network_id: string
let block: Block

beforeEach(async () => {
  const request = { name: 'dhcp', project_id: 'services', roles: ['service'] }
  token = String(expectStatus(201, await api.post('/v2/tokens', request)).secret)
  network_id = expectStatus(201, await api.post('/v2/networks', { project_id: 'red' })).id
  block = await api.createBlock('10.0.0.0/24', { network_id, project_id: 'red' })
  await createInterface(api, { network_id, mac_address: '52:54:00:00:00:01', families: [4] })
})

const send = (method: 'GET' | 'POST' | 'DELETE', url: string, payload?: object): Promise<Answer> =>
  api.request(method, `/v2/${url}`, payload, { 'x-auth-token': token })
const hosts = async (query = '') => {
  const answer = await send('GET', `networks/${network_id}/dhcp/hosts?${query}`)
  return (expectStatus(200, answer) as unknown as { hosts: ServedHost[] }).hosts
}
const client = {
  project_id: 'red',
  owner_type: 'dhcp_client',
  owner_id: '52:54:00:00:01:01',
  one_per_owner: true,
  lifetime_seconds: 600,
}

test('it reads networks, hosts and events of all projects', async () => {
  const { cursor } = expectStatus(200, await send('GET', 'events?after=0&limit=1000'))
  await createInterface(api, {
    project_id: 'blue',
    network_id,
    mac_address: '52:54:00:00:00:02',
    families: [4],
  })
  const { events } = expectStatus(200, await send('GET', `events?after=${cursor}`))
  expect(events.map(({ type, project_id }) => [type, project_id])).toContainEqual([
    'interface.created',
    'blue',
  ])
  expectStatus(200, await send('GET', `networks/${network_id}/dhcp`))
  expect(await hosts()).toHaveLength(2)
  const shared = expectStatus(201, await api.post('/v2/networks', {})).id
  expectStatus(200, await send('GET', `networks/${shared}/dhcp`))
})

test('it gives clients of any project addresses, keeps them, and takes them back', async () => {
  const wish = { ...client, block_id: block.id, address: '10.0.0.77', fallback: 'next' }
  const { allocations } = expectStatus(201, await send('POST', 'allocations', wish))
  expect(allocations).toMatchObject([{ address: '10.0.0.77', project_id: 'red' }])
  const id = String(allocations[0]?.id)
  const again = expectStatus(201, await send('POST', 'allocations', wish))
  expect(again.allocations).toEqual(allocations)
  const other = { ...wish, owner_id: '52:54:00:00:01:02' }
  const [next] = expectStatus(201, await send('POST', 'allocations', other)).allocations
  expect(next?.address).not.toBe('10.0.0.77')
  const renewed = expectStatus(
    200,
    await send('POST', `allocations/${id}/renew`, { lifetime_seconds: 900 }),
  )
  const [host] = await hosts(`id=${client.owner_id}`)
  expect(host).toMatchObject({
    type: 'client',
    addresses: [{ allocation_id: id, expires_at: renewed.expires_at }],
  })
  const { owner_id, owner_type, project_id } = client
  const all = { owner_id, owner_type, project_id, lifetime_seconds: 900 }
  expectStatus(200, await send('POST', 'allocations/renew', all))
  expectStatus(200, await send('DELETE', `allocations/${id}`))
  expect(await hosts(`id=${client.owner_id}`)).toEqual([])
  const release = { allocations: [{ id: next?.id }] }
  expectStatus(200, await send('POST', 'allocations/release', release))
  expect((await hosts()).map(({ type }) => type)).toEqual(['interface'])
})

test('it does so for many in one call, also where a policy keeps addresses for them', async () => {
  const rules = { purposes: [{ purpose: 'guests', last: 4 }] }
  const policy_id = expectStatus(201, await api.post('/v2/policies', { name: 'guests', rules })).id
  expectStatus(200, await api.patch(`/v2/blocks/${block.id}`, { policy_id }))
  const items = [1, 2].map(n => ({
    ...client,
    owner_id: `52:54:00:00:02:0${n}`,
    network_id,
    families: [4],
    purpose: 'guests',
    address: undefined,
  }))
  const { outcomes } = expectStatus(
    200,
    await send('POST', 'allocations/bulk', { items, on_error: 'continue' }),
  ) as unknown as { outcomes: { status: number; allocations: { address: string }[] }[] }
  expect(outcomes.map(({ status }) => status)).toEqual([201, 201])
  const given = outcomes.flatMap(one => one.allocations.map(({ address }) => address))
  expect(given.toSorted()).toEqual(['10.0.0.252', '10.0.0.253'])
})

test('its owner reads what is of its own project, and a stranger nothing', async () => {
  await createInterface(api, {
    project_id: 'blue',
    network_id,
    mac_address: '52:54:00:00:00:02',
    families: [4],
  })
  const held = { ...client, project_id: 'blue', block_id: block.id }
  expectStatus(201, await api.post('/v2/allocations', held))
  expect(await hosts()).toHaveLength(3)
  const make = async (project_id: string) =>
    expectStatus(
      201,
      await api.post('/v2/tokens', { name: project_id, project_id, roles: ['reader'] }),
    ).secret
  token = String(await make('red'))
  const [own, ...more] = await hosts()
  expect([own?.mac_address, more]).toEqual(['52:54:00:00:00:01', []])
  token = String(await make('blue'))
  for (const path of ['', '/hosts']) {
    expectProblem(await send('GET', `networks/${network_id}/dhcp${path}`), 'network_not_found')
  }
})

test('an allocation of another project gives an interface nothing', async () => {
  const [nic] = await hosts()
  const owner = { owner_type: 'interface', owner_id: nic?.id }
  const wrong = { project_id: 'blue', block_id: block.id, ...owner }
  expectStatus(201, await api.post('/v2/allocations', wrong))
  expect(await hosts()).toEqual([nic])
})
