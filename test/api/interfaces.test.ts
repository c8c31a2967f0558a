import { randomUUID } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Interface } from '../../src/resources/interfaces/schema.ts'
import { expectProblem, expectStatus, networks, useApi } from '../helpers/api.ts'
import { useClock } from '../helpers/clock.ts'
import {
  addressesOf,
  askInterface,
  createInterface,
  interfacesOf,
  putInterfaces,
} from '../helpers/interfaces.ts'
import { createMacRange } from '../helpers/macs.ts'
import { contentOf } from '../helpers/writes.ts'

const api = useApi()
const clock = useClock(api)
const [red, blue] = networks
const pathOf = ({ id }: { id: string }) => `/v2/interfaces/${id}`
const typesSince = async (cursor: string) =>
  (await api.get(`/v2/events?after=${cursor}`)).body.events.map(({ type }) => type)
const newestEvent = async () => (await api.get('/v2/events?after=latest')).body.cursor
const ownedBy = async (id: string, state = 'current') =>
  (await api.get(`/v2/allocations?owner_id=${id}&state=${state}`)).body.allocations

beforeEach(async () => {
  await api.createNetworks()
  await createMacRange(api)
  await api.createBlock('10.0.0.0/28', { network_id: red })
  await api.createBlock('2001:db8::/64', { network_id: red })
  await api.createBlock('10.1.0.0/30', { network_id: blue })
})

describe('an interface', () => {
  test('is made with its MAC and its addresses at once, and shown so', async () => {
    const settings = { device_id: 'vm-1', name: 'eth0', tags: ['a'] }
    const cursor = await newestEvent()
    const made = await createInterface(api, {
      ...settings,
      families: [4, 6],
      addresses: ['10.0.0.5', '2001:DB8::7'],
    })
    expect(made).toMatchObject({
      ...settings,
      network_id: red,
      mac_address: '52:54:00:00:00:00',
      generation: 1,
    })
    expect(addressesOf(made)).toEqual(['10.0.0.5', '10.0.0.1', '2001:db8::7', '2001:db8::1'])
    const answer = await api.get(pathOf(made))
    expect(answer.body).toEqual(made)
    expect(answer.headers.etag).toMatch(/^"1-[0-9a-f]{16}"$/)
    expect(await ownedBy(made.id)).toHaveLength(4)
    const macs = await api.get('/v2/macs?address=5254.0000.0000')
    expect(macs.body).toMatchObject({ macs: [{ interface_id: made.id, network_id: red }] })
    const types = await typesSince(cursor)
    expect(types.toSorted()).toEqual([
      ...Array(4).fill('allocation.created'),
      'interface.created',
      'mac.created',
    ])
    for (const query of ['device_id=vm-1', 'mac_address=52-54-00-00-00-00', 'address=10.0.0.5']) {
      expect((await api.get(`/v2/interfaces?${query}`)).body).toMatchObject({ interfaces: [made] })
    }
    expect((await api.get('/v2/interfaces?address=10.0.0.6')).body).toMatchObject({
      interfaces: [],
    })
  })

  test('has another entity tag when an address of it is released elsewhere', async () => {
    const made = await createInterface(api, { families: [4], addresses: ['10.0.0.5'] })
    const tagged = (tag: unknown, payload: object) =>
      api.request('PATCH', pathOf(made), payload, { 'if-match': String(tag) })
    const before = (await api.get(pathOf(made))).headers.etag
    const [first] = made.addresses
    expectStatus(200, await api.delete(`/v2/allocations/${first?.allocation_id}`))
    const answer = await api.get(pathOf(made))
    expect(answer.body).toMatchObject({ generation: 1, addresses: made.addresses.slice(1) })
    expect(answer.headers.etag).not.toBe(before)
    expectProblem(await tagged(before, { name: 'late' }), 'precondition_failed', { status: 412 })
    expectProblem(await tagged('"1"', { name: 'late' }), 'precondition_failed')
    expectStatus(200, await tagged(answer.headers.etag, { name: 'in time' }))
    const stale = { 'if-match': String(answer.headers.etag) }
    const path = `${pathOf(made)}/addresses`
    const added = await api.request('POST', path, { families: [6] }, stale)
    expectProblem(added, 'precondition_failed')
    const [left] = made.addresses.slice(1)
    const removed = await api.request('DELETE', `${path}/${left?.allocation_id}`, undefined, stale)
    expectProblem(removed, 'precondition_failed')
    const known = { 'if-none-match': String((await api.get(pathOf(made))).headers.etag) }
    expect((await api.request('GET', pathOf(made), undefined, known)).status).toBe(304)
  })

  test('takes along what it may use beside its addresses, and tells so', async () => {
    const made = await createInterface(api)
    const path = `${pathOf(made)}/allowed-addresses`
    const { id } = expectStatus(201, await api.post(path, { address: '10.0.0.9' }))
    const cursor = await newestEvent()
    expectStatus(204, await api.delete(pathOf(made)))
    const { events } = (await api.get(`/v2/events?after=${cursor}`)).body
    expect(events.map(({ type, object_id }) => [type, object_id])).toContainEqual([
      'allowed_address.deleted',
      id,
    ])
    expect(events.at(-1)?.type).toBe('interface.deleted')
  })

  test('has the id and the MAC that its creator chooses, or no MAC', async () => {
    const id = randomUUID()
    const made = await createInterface(api, {
      id: id.toUpperCase(),
      mac_address: '02-00-00-00-00-01',
    })
    expect(made).toMatchObject({ id, mac_address: '02:00:00:00:00:01', mac_range_id: null })
    expectProblem(await askInterface(api, { id }), 'interface_exists', { status: 409, field: 'id' })
    const mac_address = '52:54:00:00:00:20'
    expect(await createInterface(api, { mac_address })).toMatchObject({ mac_address })
    expectProblem(await askInterface(api, { mac_address, network_id: blue }), 'mac_taken')
    expect(await createInterface(api, { mac_address: null })).toMatchObject({ mac_address: null })
  })

  test('gets the addresses that the policy makes of its MAC', async () => {
    const policy = await api.createPolicy('slaac', { ipv6_generator: { kind: 'eui64' } })
    expectStatus(200, await api.patch(`/v2/networks/${red}`, { policy_id: policy.id }))
    const made = await createInterface(api, { mac_address: '52:54:00:12:34:56', families: [6] })
    expect(addressesOf(made)).toEqual(['2001:db8::5054:ff:fe12:3456'])
    const next = await createInterface(api, { families: [4, 6] })
    expect(addressesOf(next)).toEqual(['10.0.0.1', '2001:db8::5054:ff:fe00:0'])
    const refused = await askInterface(api, { mac_address: null, families: [6] })
    expectProblem(refused, 'generator_needs_input', { status: 409 })
  })

  test.each([
    ['network_full', { network_id: blue, families: [4], addresses: ['10.1.0.1', '10.1.0.2'] }],
    ['no_subnet', { network_id: blue, families: [4, 6] }],
    ['address_outside_block', { addresses: ['10.0.0.1', '10.9.0.1'] }],
    ['address_excluded', { addresses: ['10.0.0.1', '10.0.0.15'] }],
    ['network_not_found', { network_id: randomUUID() }],
    ['mac_range_not_found', { mac_range_id: randomUUID() }],
    ['mac_outside_range', { mac_address: '02:00:00:00:00:01' }],
  ])('is refused as a whole with %s', async (code, request) => {
    const range = (await api.get('/v2/mac-ranges')).body as unknown as {
      mac_ranges: { id: string }[]
    }
    const more = code === 'mac_outside_range' ? { mac_range_id: range.mac_ranges[0]?.id } : {}
    const before = await contentOf(api.db)
    expectProblem(await askInterface(api, { ...request, ...more } as object), code)
    expect(await contentOf(api.db)).toEqual(before)
  })

  test.each([
    ['mac_address', { mac_address: '03:00:00:00:00:01' }],
    ['addresses', { addresses: ['10.0.0'] }],
    ['families/0', { families: [5] }],
    ['vlan', { vlan: 7 }],
  ])('is refused for its %s', async (field, request) => {
    const answer = await askInterface(api, request as object)
    expectProblem(answer, 'invalid_request', { status: 400, field })
  })

  test('gives all back when it is deleted, and may come back under its id', async () => {
    const made = await createInterface(api, { families: [4, 6] })
    const cursor = await newestEvent()
    expectStatus(204, await api.delete(pathOf(made)))
    const types = await typesSince(cursor)
    expect(types.toSorted()).toEqual([
      'allocation.released',
      'allocation.released',
      'interface.deleted',
      'mac.released',
    ])
    expect(await ownedBy(made.id)).toEqual([])
    expect(await ownedBy(made.id, 'ended')).toHaveLength(2)
    expectProblem(await api.get(pathOf(made)), 'interface_not_found', { status: 404 })
    expectProblem(await api.delete(pathOf(made)), 'interface_not_found', { status: 404 })
    const again = await createInterface(api, { id: made.id, families: [4] })
    expect(again).toMatchObject({ id: made.id, mac_address: made.mac_address, generation: 1 })
  })

  test('keeps its MAC, which goes with it, and its network as long as it is there', async () => {
    const made = await createInterface(api)
    const { macs } = (await api.get(`/v2/macs?interface_id=${made.id}`)).body as unknown as {
      macs: { id: string }[]
    }
    expectProblem(await api.delete(`/v2/macs/${macs[0]?.id}`), 'mac_in_use', { status: 409 })
    await createInterface(api, { network_id: blue, mac_address: null })
    for (const { id } of (await api.get(`/v2/blocks?network_id=${blue}`)).body.blocks) {
      expectStatus(204, await api.delete(`/v2/blocks/${id}`))
    }
    expectProblem(await api.delete(`/v2/networks/${blue}`), 'network_in_use', { status: 409 })
  })

  test('gets more addresses and loses some', async () => {
    const made = await createInterface(api, { families: [4] })
    const path = `${pathOf(made)}/addresses`
    const more = expectStatus(
      201,
      await api.post(path, { families: [4, 6] }),
    ) as unknown as Interface
    expect(addressesOf(more)).toEqual(['10.0.0.1', '10.0.0.2', '2001:db8::1'])
    expect(more.generation).toBe(2)
    const [first, second] = more.addresses
    const less = await api.delete(`${path}/${first?.allocation_id}`)
    expect(addressesOf(less.body as unknown as Interface)).toEqual(['10.0.0.2', '2001:db8::1'])
    const other = await createInterface(api, { families: [4] })
    const wrong = `${pathOf(other)}/addresses/${second?.allocation_id}`
    expectProblem(await api.delete(wrong), 'allocation_not_found', { status: 404 })
    expectProblem(await api.post(path, { addresses: ['10.0.0.2'] }), 'address_taken')
    expect((await api.get(pathOf(made))).body).toMatchObject({ generation: 3 })
  })

  test('is told where it was, and when', async () => {
    const made = await createInterface(api, { device_id: 'vm-1', name: 'eth0' })
    const first = await clock.now()
    await clock.advance(60)
    const moved = await api.patch(pathOf(made), { device_id: 'vm-2' })
    expect(moved.body).toMatchObject({ device_id: 'vm-2', name: 'eth0', generation: 2 })
    await clock.advance(60)
    expectStatus(204, await api.delete(pathOf(made)))
    const read = async (query: string) =>
      ((await api.get(`/v2/interface-history?${query}`)).body as unknown as { periods: object[] })
        .periods
    const at = { interface_id: made.id, mac_address: made.mac_address, network_id: red }
    const all = await read(`interface_id=${made.id}`)
    expect(all).toMatchObject([
      { ...at, device_id: 'vm-1', ended_at: expect.any(String) },
      { ...at, device_id: 'vm-2', ended_at: expect.any(String) },
    ])
    expect(await read(`device_id=vm-1&at=${first}`)).toEqual([all[0]])
    expect(await read(`device_id=vm-2&at=${first}`)).toEqual([])
    const page = await api.get(`/v2/interface-history?interface_id=${made.id}&limit=1`)
    const next = await api.get(page.body.links[0]?.href ?? '')
    expect(next.body).toMatchObject({ periods: [all[1]], next_marker: null })
  })

  test('counts against the quota of its project', async () => {
    expectStatus(200, await api.put('/v2/quotas/red', { interfaces: 2 }))
    const made = await createInterface(api)
    await createInterface(api)
    const detail = 'Project red has 2 of 2 interfaces, and asked for 1 more.'
    expectProblem(await askInterface(api), 'quota_exceeded', { status: 409, detail })
    const { body } = await api.get('/v2/quotas/red')
    expect(body).toMatchObject({ interfaces: { limit: 2, limit_from: 'own', used: 2 } })
    expectStatus(204, await api.delete(pathOf(made)))
    await createInterface(api)
    expectStatus(200, await api.put('/v2/quotas/default', { interfaces: 0 }))
    expectProblem(await askInterface(api, { project_id: 'blue' }), 'quota_exceeded')
    const scoped = await api.put('/v2/quotas/red', { scope_id: 'public', interfaces: 1 })
    expectProblem(scoped, 'invalid_request', { field: 'interfaces' })
  })

  test('of many at once gets what no other has, or is refused', async () => {
    await api.createBlock('10.2.0.0/24', { network_id: red })
    expectStatus(200, await api.put('/v2/quotas/red', { interfaces: 10 }))
    const block = { id: String((await api.get('/v2/blocks')).body.blocks[0]?.id) }
    const asked = Array.from({ length: 24 }, (_, n) =>
      n % 3 ? askInterface(api, { families: [4, 6] }) : api.ask(block),
    )
    const answers = await Promise.all(asked)
    const made = answers.flatMap(({ status, body }) =>
      status === 201 && 'mac_address' in body ? [body as unknown as Interface] : [],
    )
    for (const { body } of answers)
      expect(body.code).toBeOneOf([undefined, 'quota_exceeded', 'block_full', 'network_full'])
    expect(made).toHaveLength(10)
    expect(new Set(made.map(({ mac_address }) => mac_address)).size).toBe(10)
    expect(new Set(made.flatMap(addressesOf)).size).toBe(20)
  })
})

describe('the interfaces of a device', () => {
  test('are put there as a whole, and again without a change', async () => {
    const specs = [
      { name: 'eth0', families: [4, 6] as (4 | 6)[] },
      { network_id: blue, name: 'eth1' },
    ]
    const made = interfacesOf(await putInterfaces(api, 'vm-1', specs))
    expect(made).toMatchObject([{ name: 'eth0' }, { name: 'eth1', network_id: blue }])
    expect(made.map(addressesOf)).toEqual([['10.0.0.1', '2001:db8::1'], []])
    const cursor = await newestEvent()
    expect(interfacesOf(await putInterfaces(api, 'vm-1', specs))).toEqual(made)
    const chosen = made.map(({ id, network_id, name, mac_address }) => ({
      id,
      network_id: String(network_id),
      name,
      mac_address: String(mac_address),
    }))
    const same = [
      { ...chosen[1] },
      { ...chosen[0], addresses: ['10.0.0.1'], families: [6 as const] },
    ]
    expect(interfacesOf(await putInterfaces(api, 'vm-1', same))).toEqual(made.toReversed())
    expect(await typesSince(cursor)).toEqual([])
    expect(interfacesOf(await api.get('/v2/devices/vm-1/interfaces'))).toEqual(made)
    expect(interfacesOf(await api.get('/v2/devices/vm-1/interfaces?project_id=blue'))).toEqual([])
  })

  test('keep what is unchanged, and lose, get and change the rest', async () => {
    const [web, db] = interfacesOf(
      await putInterfaces(api, 'vm-1', [
        { name: 'web', families: [4] },
        { name: 'db', families: [4] },
      ]),
    )
    await createInterface(api, { device_id: 'vm-2' })
    const cursor = await newestEvent()
    const after = interfacesOf(
      await putInterfaces(api, 'vm-1', [
        { id: String(web?.id), name: 'www', families: [6] },
        { network_id: blue, name: 'new', families: [4], addresses: ['10.1.0.2'] },
      ]),
    )
    expect(after[0]).toMatchObject({ id: web?.id, mac_address: web?.mac_address, generation: 2 })
    expect(after.map(addressesOf)).toEqual([['2001:db8::1'], ['10.1.0.1', '10.1.0.2'].toReversed()])
    expect((await typesSince(cursor)).toSorted()).toEqual([
      ...Array(3).fill('allocation.created'),
      ...Array(2).fill('allocation.released'),
      'interface.created',
      'interface.deleted',
      'interface.updated',
      'mac.created',
      'mac.released',
    ])
    expectProblem(await api.get(pathOf(db as Interface)), 'interface_not_found')
    expect(interfacesOf(await putInterfaces(api, 'vm-1', []))).toEqual([])
    expect(interfacesOf(await api.get('/v2/devices/vm-2/interfaces'))).toHaveLength(1)
  })

  test('may pass a MAC and an address from one to the other', async () => {
    const mac_address = '02:00:00:00:00:01'
    const here = { mac_address, addresses: ['10.1.0.1'], network_id: blue }
    interfacesOf(await putInterfaces(api, 'vm-1', [{ id: randomUUID(), ...here }]))
    const id = randomUUID()
    const [after] = interfacesOf(await putInterfaces(api, 'vm-1', [{ id, ...here }]))
    expect(after).toMatchObject({ id, mac_address, addresses: [{ address: '10.1.0.1' }] })
  })

  test('stay as they are if one of them is refused', async () => {
    interfacesOf(await putInterfaces(api, 'vm-1', [{ families: [4] }, { families: [6] }]))
    const before = await contentOf(api.db)
    const full = { network_id: blue, families: [4 as const], addresses: ['10.1.0.1', '10.1.0.2'] }
    expectProblem(await putInterfaces(api, 'vm-1', [{ families: [4] }, full]), 'network_full')
    expect(await contentOf(api.db)).toEqual(before)
  })

  test('are what one of those said who replaced them at the same time', async () => {
    const wishes = Array.from({ length: 6 }, (_, n) => [
      { name: `a${n}`, families: [4 as const] },
      { name: `b${n}`, network_id: n % 2 ? blue : red },
    ])
    const answers = await Promise.all(wishes.map(wish => putInterfaces(api, 'vm-1', wish)))
    for (const answer of answers) expectStatus(200, answer)
    const names = interfacesOf(await api.get('/v2/devices/vm-1/interfaces')).map(({ name }) => name)
    expect(names).toHaveLength(2)
    expect(new Set(names.map(name => name.slice(1))).size).toBe(1)
  })
})
