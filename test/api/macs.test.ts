import { describe, expect, test } from 'vitest'
import type { Mac, MacRequest } from '../../src/resources/macs/schema.ts'
import { expectProblem, expectStatus, networks, useApi } from '../helpers/api.ts'
import { useClock } from '../helpers/clock.ts'
import { createMacRange } from '../helpers/macs.ts'

const api = useApi()
const clock = useClock(api)
const nowhere = '3f2b0a52-6c1d-4f0e-9a55-0d6c6f1f0001'
const ask = (request: Partial<MacRequest> = {}) =>
  api.post('/v2/macs', { project_id: 'red', ...request })
const take = async (request: Partial<MacRequest> = {}) =>
  expectStatus(201, await ask(request)) as unknown as Mac
const release = async ({ id }: { id: string }) =>
  expectStatus(200, await api.delete(`/v2/macs/${id}`)) as unknown as Mac
const list = async (query: string) =>
  (expectStatus(200, await api.get(`/v2/macs?${query}`)) as unknown as { macs: Mac[] }).macs
const takeAll = async (count: number, request: Partial<MacRequest> = {}) => {
  const taken: string[] = []
  for (let n = 0; n < count; n++) taken.push((await take(request)).address)
  return taken
}

describe('a MAC range', () => {
  test('is shown as it was created, in canonical spelling', async () => {
    const range = await createMacRange(api, {
      prefix: '5254.00AB.0000/32',
      name: 'lab',
      tags: ['a'],
      project_id: 'red',
      strategy: 'random',
      reuse_after_seconds: 60,
      forbidden: ['52-54-00-ab-ff-00/40', '525400ab0000'],
      uniqueness: 'network',
    })
    expect(range).toMatchObject({
      prefix: '52:54:00:ab:00:00/32',
      project_id: 'red',
      strategy: 'random',
      forbidden: ['52:54:00:ab:00:00/48', '52:54:00:ab:ff:00/40'],
      uniqueness: 'network',
      generation: 1,
    })
    expect((await api.get(`/v2/mac-ranges/${range.id}`)).body).toEqual(range)
    const found = await api.get('/v2/mac-ranges?contains=52:54:00:ab:12:34&name=lab&tag=a')
    expect(found.body).toMatchObject({ mac_ranges: [range] })
    expect((await api.get('/v2/mac-ranges?contains=52:54:00:ac:00:00')).body).toMatchObject({
      mac_ranges: [],
    })
  })

  test.each([
    ['prefix', { prefix: '52:54:00:00:00:00' }, 'mac_range_overlaps'],
    ['prefix', { prefix: '52:54:00:00:00:00/7' }, 'invalid_request'],
    ['prefix', { prefix: '53:54:00:00:00:00/24' }, 'invalid_request'],
    ['prefix', { prefix: '52:54:01:00:00:01/24' }, 'cidr_has_host_bits'],
    [
      'forbidden',
      { prefix: '56:00:00:00:00:00/24', forbidden: ['57:00:00:00:00:00'] },
      'invalid_request',
    ],
    ['size', { prefix: '56:00:00:00:00:00/24', size: 1 }, 'invalid_request'],
  ])('is refused for its %s in %j', async (field, request, code) => {
    await createMacRange(api)
    const answer = await api.post('/v2/mac-ranges', request)
    expectProblem(answer, code, code === 'mac_range_overlaps' ? { status: 409 } : { field })
  })

  test('cannot be laid over a MAC that somebody has, nor be deleted under one', async () => {
    const own = await take({ address: '52:54:00:00:00:07' })
    const refused = await api.post('/v2/mac-ranges', { prefix: '52:54:00:00:00:00/40' })
    const conflicts = [{ type: 'mac', id: own.id, address: own.address }]
    expectProblem(refused, 'mac_range_in_use', { status: 409, conflicts })
    await release(own)
    const range = await createMacRange(api)
    const mac = await take()
    expectProblem(await api.delete(`/v2/mac-ranges/${range.id}`), 'mac_range_in_use')
    await release(mac)
    expectStatus(204, await api.delete(`/v2/mac-ranges/${range.id}`))
    expectProblem(await api.get(`/v2/mac-ranges/${range.id}`), 'mac_range_not_found')
    expect((await api.get(`/v2/macs/${mac.id}`)).body).toMatchObject({ range_id: range.id })
  })

  test('gives the lowest MAC first, none twice, none that is forbidden, and counts them', async () => {
    const range = await createMacRange(api, {
      prefix: '52:54:00:00:00:00/45',
      forbidden: ['52:54:00:00:00:00', '52:54:00:00:00:04/47'],
    })
    const taken = await takeAll(5, { range_id: range.id })
    expect(taken.map(address => address.slice(-2))).toEqual(['01', '02', '03', '06', '07'])
    const counts = { total: 8, forbidden: 3, held: 5, waiting: 0, free: 0 }
    expect((await api.get(`/v2/mac-ranges/${range.id}/utilisation`)).body).toEqual(counts)
    expectProblem(await ask({ range_id: range.id }), 'mac_range_full', { status: 409 })
    expectProblem(await ask({ address: '52:54:00:00:00:04' }), 'mac_forbidden')
    const [found] = await list('address=5254.0000.0003')
    await release(found as Mac)
    expect((await take()).address).toBe('52:54:00:00:00:03')
  })

  test('gives random MACs, every one of them at last', async () => {
    const { id } = await createMacRange(api, { prefix: '52:54:00:00:00:00/43', strategy: 'random' })
    const taken = await takeAll(32, { range_id: id })
    expect(new Set(taken).size).toBe(32)
    expect(taken).not.toEqual(taken.toSorted())
  })

  test('gives what has been free for longest', async () => {
    const settings = { prefix: '52:54:00:00:00:00/46', strategy: 'least_recently_used' } as const
    const { id } = await createMacRange(api, settings)
    const macs = [await take(), await take(), await take()]
    await clock.advance(1)
    await release(macs[1] as Mac)
    await clock.advance(1)
    await release(macs[0] as Mac)
    const next = await takeAll(3)
    expect(next.map(address => address.slice(-1))).toEqual(['3', '1', '0'])
    await release(macs[2] as Mac)
    const changed = await api.patch(`/v2/mac-ranges/${id}`, { strategy: 'sequential' })
    expect(changed.body).toMatchObject({ strategy: 'sequential', generation: 2 })
    expect(await takeAll(1)).toEqual(['52:54:00:00:00:02'])
  })

  test('may forbid what somebody has, who keeps it; nobody gets it after that', async () => {
    const { id } = await createMacRange(api, { prefix: '52:54:00:00:00:00/46' })
    const [first] = [await take(), await take()]
    const forbidden = ['52:54:00:00:00:00/47']
    expectStatus(200, await api.patch(`/v2/mac-ranges/${id}`, { forbidden }))
    await release(first as Mac)
    expect(await takeAll(2)).toEqual(['52:54:00:00:00:02', '52:54:00:00:00:03'])
    expectProblem(await ask({ range_id: id }), 'mac_range_full')
    expectStatus(200, await api.patch(`/v2/mac-ranges/${id}`, { forbidden: [] }))
    expect(await takeAll(1)).toEqual(['52:54:00:00:00:00'])
    const refused = await api.patch(`/v2/mac-ranges/${id}`, { forbidden: ['52:54:01:00:00:00'] })
    expectProblem(refused, 'invalid_request', { field: 'forbidden' })
  })

  test('that belongs to a project serves it before those of all', async () => {
    await createMacRange(api)
    await createMacRange(api, { prefix: '56:00:00:00:00:00/47', project_id: 'red' })
    await createMacRange(api, { prefix: '5a:00:00:00:00:00/40', project_id: 'blue' })
    expect((await takeAll(3)).map(address => address.slice(0, 2))).toEqual(['56', '56', '52'])
  })
})

describe('a MAC', () => {
  test('is of no range if it is nobody’s, and unique on its network', async () => {
    await api.createNetworks()
    const [network_id, other] = networks
    const mac = await take({ address: '02-00-00-00-00-AA', network_id, owner_id: 'vm' })
    expect(mac).toMatchObject({
      address: '02:00:00:00:00:aa',
      range_id: null,
      network_id,
      owner_id: 'vm',
      ended_at: null,
    })
    const again = { address: '02:00:00:00:00:aa', network_id }
    expectProblem(await ask(again), 'mac_taken', { status: 409 })
    expect(await take({ ...again, network_id: other })).toMatchObject({ network_id: other })
    expect(await list('address=0200.0000.00aa')).toHaveLength(2)
    expectProblem(await api.delete(`/v2/networks/${network_id}`), 'network_in_use', {
      status: 409,
      conflicts: [{ type: 'mac', id: mac.id, address: mac.address }],
    })
  })

  test.each([
    ['address', { address: '03:00:00:00:00:01' }],
    ['address', { address: '00:00:00:00:00:00' }],
    ['address', { address: '02:00:00:00:00:0g' }],
    ['range_id', { range_id: 'first' }],
    ['strategy', { strategy: 'random' }],
  ])('is refused for its %s in %j', async (field, request) => {
    expectProblem(await ask(request as object), 'invalid_request', { status: 400, field })
  })

  test('is refused where there is no range or network, or it is of another range', async () => {
    expectProblem(await ask(), 'no_mac_range', { status: 409 })
    expectProblem(await ask({ range_id: nowhere }), 'mac_range_not_found', { status: 404 })
    expectProblem(await ask({ network_id: nowhere }), 'network_not_found', { status: 404 })
    const { id: range_id } = await createMacRange(api)
    const outside = { range_id, address: '02:00:00:00:00:01' }
    expectProblem(await ask(outside), 'mac_outside_range', { status: 409 })
    const unknown = { range_id: nowhere, address: '02:00:00:00:00:01' }
    expectProblem(await ask(unknown), 'mac_range_not_found', { status: 404 })
    expectProblem(await api.get(`/v2/macs/${nowhere}`), 'mac_not_found', { status: 404 })
  })

  test('of a range is given once in all, or once on each network', async () => {
    await api.createNetworks()
    const [red, blue] = networks
    const { id } = await createMacRange(api, {
      prefix: '52:54:00:00:00:00/47',
      uniqueness: 'network',
    })
    for (const network_id of networks) {
      expect(await takeAll(2, { network_id })).toEqual(['52:54:00:00:00:00', '52:54:00:00:00:01'])
      expectProblem(await ask({ network_id, range_id: id }), 'mac_range_full')
    }
    expectProblem(await ask(), 'mac_needs_network', { status: 409 })
    expectProblem(await ask({ network_id: red, address: '52:54:00:00:00:01' }), 'mac_taken')
    const { body } = await api.get(`/v2/mac-ranges/${id}/utilisation`)
    expect(body).toEqual({ total: 2, forbidden: 0, held: 4, waiting: 0, free: null })
    const once = await createMacRange(api, { prefix: '56:00:00:00:00:00/40' })
    await take({ address: '56:00:00:00:00:05', network_id: red, range_id: once.id })
    expectProblem(await ask({ address: '56:00:00:00:00:05', network_id: blue }), 'mac_taken')
  })

  test('waits after its release for the one who had it', async () => {
    await createMacRange(api, { prefix: '52:54:00:00:00:00/47', reuse_after_seconds: 60 })
    const address = '52:54:00:00:00:00'
    const mac = await take({ owner_id: 'vm', owner_type: 'instance' })
    const ended = await release(mac)
    expect(ended).toMatchObject({ id: mac.id, address, ended_at: expect.any(String) })
    expect(Date.parse(ended.reusable_at ?? '') - Date.parse(ended.ended_at ?? '')).toBe(60_000)
    expect(await release(mac)).toEqual(ended)
    expect(await takeAll(1)).toEqual(['52:54:00:00:00:01'])
    expectProblem(await ask(), 'mac_range_full')
    expectProblem(await ask({ address, owner_id: 'other' }), 'mac_waits', { status: 409 })
    await release(await take({ address, owner_id: 'vm' }))
    await clock.advance(59)
    expectProblem(await ask(), 'mac_range_full')
    await clock.advance(2)
    expect(await takeAll(1, { owner_id: 'other' })).toEqual([address])
  })

  test('can be asked for by whoever, once it has waited', async () => {
    await createMacRange(api, { reuse_after_seconds: 60 })
    const { address, id } = await take()
    await release({ id })
    await clock.advance(61)
    expect((await take({ address, owner_id: 'other' })).address).toBe(address)
  })

  test('is looked up by when', async () => {
    await createMacRange(api)
    const before = await clock.now()
    await clock.advance(10)
    const first = await take({ owner_id: 'a' })
    await clock.advance(10)
    const at = await clock.now()
    await clock.advance(10)
    const ended = await release(first)
    const second = await take({ owner_id: 'b' })
    const mac = `address=${first.address}`
    expect(await list(mac)).toEqual([second])
    expect(await list(`${mac}&state=ended`)).toEqual([ended])
    expect(await list(`${mac}&state=all&limit=2`)).toEqual([ended, second])
    expect(await list(`${mac}&at=${at}`)).toEqual([ended])
    expect(await list(`${mac}&at=${before}`)).toEqual([])
    const page = await api.get(`/v2/macs?${mac}&state=all&limit=1`)
    const next = await api.get(page.body.links[0]?.href ?? '')
    expect(next.body).toMatchObject({ macs: [second], next_marker: null })
    const { events } = (await api.get('/v2/events?after=0')).body
    const told = events.map(({ type, object_id }) => [type, object_id])
    expect(told.slice(1)).toEqual([
      ['mac.created', first.id],
      ['mac.released', first.id],
      ['mac.created', second.id],
    ])
  })
})

test('many at once get each MAC once, in any range, and the last one goes to one of them', async () => {
  await createMacRange(api, { prefix: '52:54:00:00:00:00/44' })
  await createMacRange(api, { prefix: '56:00:00:00:00:00/44', strategy: 'random' })
  const answers = await Promise.all(Array.from({ length: 40 }, () => ask()))
  const given = answers.flatMap(({ status, body }) => (status === 201 ? [body.address] : []))
  expect(new Set(given).size).toBe(32)
  expect(given).toHaveLength(32)
  for (const { status, body } of answers)
    if (status !== 201) expect(body.code).toBe('mac_range_full')
})
