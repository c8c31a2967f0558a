import { beforeEach, describe, expect, test } from 'vitest'
import { newId } from '../../src/ids.ts'
import { allocateEach } from '../../src/resources/allocations/allocator-store.ts'
import type { AllocationRequest } from '../../src/resources/allocations/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import type { PolicyRulesRequest } from '../../src/resources/policies/schema.ts'
import { type Answer, expectProblem, expectStatus, networks, useApi } from '../helpers/api.ts'
import { policiesOf } from '../helpers/policies.ts'

const api = useApi()
const policies = policiesOf(api)
const [network_id] = networks
const reuse = { quarantine_seconds: 3600, quarantine_reuse: 'when_full' } as const
const limit = async (allocations: number) =>
  expectStatus(200, await api.put('/v2/quotas/poor', { allocations }))
const given = (answer: Answer) => expectStatus(201, answer).allocations.map(a => a.address)

/** A /29 of which all six addresses were given, and these hosts of it given back, in this order. */
async function fill(hosts: readonly number[], rules: PolicyRulesRequest): Promise<Block> {
  const block = await policies.createRuled('192.0.2.0/29', rules, { network_id })
  const all = await api.allocate(block, { count: 6 })
  for (const host of hosts) {
    const one = all.find(({ address }) => address === `192.0.2.${host}`)
    if (one) await api.release(one)
  }
  return block
}
const waitingIn = async (block: Block) => (await api.utilisation(block)).quarantined

beforeEach(() => api.createNetworks())

const kinds: [string, PolicyRulesRequest][] = [
  ['an ordinary block', reuse],
  ['a block with exclusions', { ...reuse, exclusions: { last_octets: [99] } }],
]
describe.each(kinds)('quarantine in %s ends before its time', (_, rules) => {
  const ways: [string, (block: Block) => Partial<AllocationRequest>][] = [
    ['the block', () => ({})],
    ['its network', () => ({ network_id, block_id: undefined as never })],
    ['an owner of one', () => ({ one_per_owner: true, owner_id: 'vm' })],
  ]
  test.each(ways)('for just as many as are missing, asked of %s', async (way, wishOf) => {
    const block = await fill([5, 3, 4], rules)
    const count = way === 'an owner of one' ? 1 : 2
    const longest = ['192.0.2.5', '192.0.2.3'].slice(0, count)
    const answer = await api.ask(block, { ...wishOf(block), ...(count > 1 && { count }) })
    expect(given(answer).sort()).toEqual(longest.sort())
    expect(await waitingIn(block)).toBe(String(3 - count))
  })

  test.each(ways)('for no request that is refused in the end, asked of %s', async (way, wishOf) => {
    const block = await fill([5, 3], rules)
    const wish = wishOf(block)
    if (way !== 'an owner of one') {
      const code = wish.network_id ? 'network_full' : 'block_full'
      expectProblem(await api.ask(block, { ...wish, count: 3 }), code)
    }
    await limit(0)
    expectProblem(await api.ask(block, { ...wish, project_id: 'poor' }), 'quota_exceeded')
    if (wish.network_id)
      expectProblem(await api.ask(block, { ...wish, families: [4, 6] }), 'no_subnet')
    expect(await waitingIn(block)).toBe('2')
    expect(given(await api.ask(block, wish))).toEqual(['192.0.2.5'])
  })

  test('for those of a batch that are served, and for no others', async () => {
    const block = await fill([5, 3, 4], rules)
    await limit(1)
    const nobody = {
      ...{ address: null, fallback: false, prefix_length: null, contiguous: false },
      ...{ owner_type: null, owner_id: null, name: '', tags: [] },
    }
    const place = { block_id: block.id }
    const outcomes = await allocateEach(api.db, [
      { ...nobody, ...place, project_id: 'red', ids: [newId(), newId(), newId(), newId()] },
      { ...nobody, ...place, project_id: 'poor', ids: [newId(), newId()] },
      { ...nobody, ...place, project_id: 'poor', ids: [newId()] },
      { ...nobody, network_id, families: [4], project_id: 'red', ids: [newId()] },
    ])
    const codes = ['block_full', 'quota_exceeded', undefined, undefined]
    expect(outcomes.map(outcome => (outcome as { code?: string }).code)).toEqual(codes)
    expect(await waitingIn(block)).toBe('1')
  })
})

test('what is free already is not freed again', async () => {
  const block = await fill([5, 3, 4], reuse)
  await policies.change({ id: block.policy_id ?? '' }, { rules: {} })
  const [one] = (await api.get('/v2/allocations?address=192.0.2.1')).body.allocations
  if (!one) throw new Error('192.0.2.1 is not held')
  await api.release(one)
  await policies.change({ id: block.policy_id ?? '' }, { rules: reuse })
  const answer = await api.ask(block, { count: 2 })
  expect(given(answer).sort()).toEqual(['192.0.2.1', '192.0.2.5'])
  expect(await waitingIn(block)).toBe('2')
})
