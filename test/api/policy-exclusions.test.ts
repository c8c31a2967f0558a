import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Policy, PolicyRulesRequest } from '../../src/resources/policies/schema.ts'
import { Api, expectProblem, expectStatus } from '../helpers/api.ts'
import { emptyDatabase } from '../helpers/databases.ts'

const api = new Api()
beforeAll(async () => {
  await api.open()
})
beforeEach(() => emptyDatabase(api.db))
afterAll(() => api.close())

/** Creates a policy with the name `edge`, unless told otherwise. */
const createPolicy = async (rules: PolicyRulesRequest, name = 'edge'): Promise<Policy> =>
  expectStatus(201, await api.post('/v2/policies', { name, rules })) as unknown as Policy

describe('what is held although it is excluded', () => {
  test('does not become free by its release', async () => {
    const block = await api.createBlock('192.0.2.0/29')
    const held = await api.allocateOne(block, { address: '192.0.2.3' })
    const { id } = await createPolicy({ exclusions: { addresses: ['192.0.2.2/31'] } })
    expectStatus(200, await api.patch(`/v2/blocks/${block.id}`, { policy_id: id }))
    const counts = { total: '8', allocated: '1', excluded: '3', free: '4' }
    expect(await api.utilisation(block)).toMatchObject(counts)

    await api.release(held)
    const after = { total: '8', allocated: '0', excluded: '4', free: '4' }
    expect(await api.utilisation(block)).toMatchObject(after)
    expect(await api.freeRanges(block)).toEqual(['192.0.2.1-192.0.2.1', '192.0.2.4-192.0.2.6'])
    expectProblem(await api.ask(block, { address: '192.0.2.3' }), 'address_excluded', {
      detail: '192.0.2.3 is excluded by policy `edge`, 192.0.2.2/31.',
    })
  })
})
