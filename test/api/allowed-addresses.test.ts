import { beforeEach, expect, test } from 'vitest'
import type {
  AllowedAddress,
  AllowedAddressRequest,
  Interface,
} from '../../src/resources/interfaces/schema.ts'
import { expectProblem, expectStatus, networks, useApi } from '../helpers/api.ts'
import { createInterface } from '../helpers/interfaces.ts'
import { createMacRange } from '../helpers/macs.ts'

const api = useApi()
let one: Interface
let two: Interface
let elsewhere: Interface
const pathOf = ({ id }: Interface) => `/v2/interfaces/${id}/allowed-addresses`
const ask = (holder: Interface, request: AllowedAddressRequest) => api.post(pathOf(holder), request)
const allow = async (holder: Interface, request: AllowedAddressRequest) =>
  expectStatus(201, await ask(holder, request)) as unknown as AllowedAddress
const list = async (path: string) =>
  (expectStatus(200, await api.get(path)) as unknown as { allowed_addresses: AllowedAddress[] })
    .allowed_addresses

beforeEach(async () => {
  await api.createNetworks()
  await createMacRange(api)
  one = await createInterface(api)
  two = await createInterface(api)
  elsewhere = await createInterface(api, { network_id: networks[1] })
})

test('an address or a prefix is one interface’s alone, unless they share it', async () => {
  const vip = await allow(one, { address: '10.0.0.10' })
  expect(vip).toMatchObject({ interface_id: one.id, address: '10.0.0.10', role: 'exclusive' })
  const block = await allow(one, { address: '2001:DB8:7::/64' })
  expect(block.address).toBe('2001:db8:7::/64')
  for (const role of ['exclusive', 'primary', 'shared'] as const) {
    for (const address of ['10.0.0.10', '10.0.0.0/24', '2001:db8:7::1']) {
      expectProblem(await ask(two, { address, role }), 'allowed_address_taken', { status: 409 })
    }
  }
  await allow(elsewhere, { address: '10.0.0.10' })
  expect(await list(pathOf(one))).toEqual([vip, block])
  expect((await api.get(`${pathOf(one)}/${vip.id}`)).body).toEqual(vip)
  const again = { address: '10.0.0.10', role: 'shared' } as const
  expectProblem(await ask(one, again), 'allowed_address_exists', { status: 409 })
})

test('of those who share an address one is the primary, and they can change places', async () => {
  const address = '10.0.0.10'
  const first = await allow(one, { address, role: 'primary' })
  const second = await allow(two, { address, role: 'secondary' })
  expectProblem(await ask(two, { address: '10.0.0.0/24', role: 'primary' }), 'primary_taken')
  const alone = await ask(two, { address: '10.0.0.0/24' })
  expectProblem(alone, 'allowed_address_taken', { status: 409 })
  const change = (holder: Interface, { id }: AllowedAddress, role: string) =>
    api.patch(`${pathOf(holder)}/${id}`, { role })
  expectProblem(await change(two, second, 'primary'), 'primary_taken', { status: 409 })
  expect((await change(one, first, 'secondary')).body).toMatchObject({ generation: 2 })
  expect((await change(two, second, 'primary')).body).toMatchObject({ role: 'primary' })
  const holders = await list(`/v2/allowed-addresses?network_id=${networks[0]}&address=${address}`)
  expect(holders).toMatchObject([
    { interface_id: one.id, role: 'secondary' },
    { interface_id: two.id, role: 'primary' },
  ])
  expectStatus(204, await api.delete(`${pathOf(one)}/${first.id}`))
  expectProblem(await api.get(`${pathOf(one)}/${first.id}`), 'allowed_address_not_found')
  expectStatus(204, await api.delete(`/v2/interfaces/${two.id}`))
  await allow(one, { address })
})

test('of many who want to be the primary at the same time one is', async () => {
  const wishes = [one, two, one, two].map(holder =>
    ask(holder, { address: '10.0.0.10', role: 'primary' }),
  )
  const answers = await Promise.all(wishes)
  expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
  for (const { status } of answers) expect(status).toBeOneOf([201, 409])
})

test.each([
  ['cidr_has_host_bits', { address: '10.0.0.1/24' }],
  ['invalid_request', { address: 'vip' }],
  ['invalid_request', { address: '10.0.0.1', role: 'owner' }],
])('is refused with %s', async (code, request) => {
  expectProblem(await ask(one, request as AllowedAddressRequest), code, { status: 400 })
})

test('an interface that there is not is allowed nothing', async () => {
  const nobody = { ...one, id: '3f2b0a52-6c1d-4f0e-9a55-0d6c6f1f0001' }
  expectProblem(await ask(nobody, { address: '10.0.0.1' }), 'interface_not_found', { status: 404 })
  expectProblem(await api.get(pathOf(nobody)), 'interface_not_found', { status: 404 })
})

test('who was allowed an address, and when, is told without a gap and without two', async () => {
  type Period = { interface_id: string; role: string; started_at: string; ended_at: string | null }
  const history = async (query: string) =>
    (
      expectStatus(200, await api.get(`/v2/allowed-address-history?${query}`)) as unknown as {
        periods: Period[]
      }
    ).periods
  const vip = await allow(one, { address: '10.0.0.10' })
  const path = `${pathOf(one)}/${vip.id}`
  expectStatus(200, await api.patch(path, { role: 'shared' }))
  expectStatus(200, await api.patch(path, { role: 'shared' }))
  expectStatus(204, await api.delete(path))
  await allow(two, { address: '10.0.0.0/28' })
  const periods = await history('address=10.0.0.10')
  expect(periods.map(({ interface_id, role }) => [interface_id, role])).toEqual([
    [one.id, 'exclusive'],
    [one.id, 'shared'],
    [two.id, 'exclusive'],
  ])
  const [first, second, third] = periods
  expect(second?.started_at).toBe(first?.ended_at)
  expect(String(third?.started_at) >= String(second?.ended_at)).toBe(true)
  expect(third?.ended_at).toBeNull()
  expect(await history(`at=${second?.started_at}&address=10.0.0.10`)).toEqual([second])
  expect(await history(`interface_id=${one.id}`)).toEqual([first, second])
  expect(await history(`network_id=${networks[1]}`)).toEqual([])
  expect(await history('project_id=red&limit=1')).toEqual([first])
  const { body } = await api.get('/v2/allowed-address-history?limit=2')
  expect((await api.get(String(body.links[0]?.href))).body).toMatchObject({ periods: [third] })
  expectProblem(await api.get('/v2/allowed-address-history?at=never'), 'invalid_request', {
    field: 'at',
  })
})
