import { describe, expect, test } from 'vitest'
import type { EffectiveRules, Policy } from '../../src/resources/policies/schema.ts'
import { expectProblem, expectStatus, networks, useApi } from '../helpers/api.ts'
import { policiesOf } from '../helpers/policies.ts'

const api = useApi()

const policies = policiesOf(api)
const [network_id] = networks
const pathOf = ({ id }: { id: string }) => `/v2/policies/${id}`
const nowhere = '3f2b0a52-6c1d-4f0e-9a55-0d6c6f1f0001'
const rulesOf = async ({ id }: { id: string }): Promise<EffectiveRules> =>
  expectStatus(200, await api.get(`/v2/blocks/${id}/rules`)) as unknown as EffectiveRules

describe('a policy', () => {
  test('is shown as it was created, changed as a whole rule set, and then gone', async () => {
    const request = {
      project_id: 'red',
      name: 'edge',
      description: 'At the edge',
      tags: ['a'],
      rules: { exclusions: { first: 10, last_octets: [255, 0] }, quarantine_seconds: 60 },
    }
    const answer = await api.post('/v2/policies', request)
    const rules = { exclusions: { first: '10', last_octets: [0, 255] }, quarantine_seconds: 60 }
    expect(answer).toMatchObject({ status: 201, body: { ...request, rules, generation: 1 } })
    expect(answer.headers.location).toBe(pathOf(answer.body))
    expect((await api.get(pathOf(answer.body))).body).toEqual(answer.body)

    const changed = await policies.change(answer.body, { rules: { strategy: 'random' } })
    expect(changed).toMatchObject({ name: 'edge', generation: 2, exceptions: [] })
    expect(changed.rules).toEqual({ strategy: 'random' })
    const list = await api.get('/v2/policies?project_id=red&name=edge&tag=a')
    const { exceptions: _, ...stored } = changed
    expect(list.body).toMatchObject({ policies: [stored] })
    expect((await api.get('/v2/policies?project_id=blue')).body).toMatchObject({ policies: [] })

    expectStatus(204, await api.delete(pathOf(answer.body)))
    for (const gone of [
      await api.get(pathOf(answer.body)),
      await api.patch(pathOf(answer.body), { name: 'x' }),
      await api.delete(pathOf(answer.body)),
    ]) {
      expectProblem(gone, 'policy_not_found', { status: 404 })
    }
    const types = (await api.get('/v2/events')).body.events.map(({ type }) => type)
    expect(types).toEqual(['policy.created', 'policy.updated', 'policy.deleted'])
  })

  test('has a name that no other of its project has', async () => {
    const edge = await policies.create({})
    expectProblem(await api.post('/v2/policies', { name: 'edge' }), 'policy_name_taken')
    const other = await policies.create({}, 'other')
    expectProblem(await api.patch(pathOf(other), { name: 'edge' }), 'policy_name_taken')
    expectStatus(201, await api.post('/v2/policies', { name: 'edge', project_id: 'red' }))
    expect((await api.get(pathOf(edge))).body).toMatchObject({ generation: 1 })
  })

  test.each([
    { rules: { unknown: 1 } },
    { rules: { exclusions: { octets: [1] } } },
    { rules: { exclusions: { last_octets: [256] } } },
    { rules: { exclusions: { last_octets: Array.from({ length: 256 }, (_, n) => n) } } },
    { rules: { exclusions: { addresses: ['10.0.0'] } } },
    {
      rules: {
        purposes: [
          { purpose: 'a', first: 1 },
          { purpose: 'a', last: 1 },
        ],
      },
    },
    { rules: { purposes: [{ purpose: 'a' }] } },
    { rules: { purposes: [{ purpose: 'Not so' }] } },
    { rules: { child_prefix_lengths: { ipv4: { min: 9, max: 8 } } } },
    { rules: { ipv6_generator: { kind: 'eui64', secret: 'x'.repeat(16) } } },
    { rules: { quarantine_seconds: -1 } },
    { owner: 'me' },
    { name: '' },
  ])('is refused with %j', async members => {
    const policy = await policies.create({})
    expectProblem(await api.post('/v2/policies', { name: 'x', ...members }), 'invalid_request')
    expectProblem(await api.patch(pathOf(policy), members), 'invalid_request')
  })

  test('keeps its secret, also when it changes', async () => {
    const secret = 'a-secret-of-the-tests'
    const rules = { ipv6_generator: { kind: 'stable_private' as const, secret } }
    const policy = await policies.create(rules)
    await policies.change(policy, { description: 'x' })
    await policies.change(policy, { rules: { ipv6_generator: { kind: 'stable_private' } } })
    const block = await api.createBlock('2001:db8::/64', { policy_id: policy.id })
    const told = [
      policy,
      (await api.get('/v2/policies')).body,
      (await api.get('/v2/events')).body,
      await rulesOf(block),
      (await api.get(`/v2/blocks/${block.id}`)).body,
    ].map(answer => JSON.stringify(answer))
    expect(told.filter(text => text.includes(secret) || text.includes('"secret"'))).toEqual([])
    expect((await api.get(pathOf(policy))).body).toMatchObject({
      rules: { ipv6_generator: { kind: 'stable_private' } },
    })
  })

  test('cannot go while it is attached, and what it is attached to is named', async () => {
    await api.createNetworks()
    const policy = await policies.create({})
    const block = await api.createBlock('10.0.0.0/8')
    for (const [path, name] of [
      [`/v2/blocks/${block.id}`, 'block 10.0.0.0/8'],
      [`/v2/networks/${network_id}`, `network ${network_id}`],
      ['/v2/address-scopes/public', 'address scope public'],
    ] as const) {
      await policies.attach(path, policy)
      expectProblem(await api.delete(pathOf(policy)), 'policy_in_use', {
        status: 409,
        detail: `The policy is attached to ${name}.`,
      })
      expectProblem(await api.patch(path, { policy_id: nowhere }), 'policy_not_found', {
        status: 404,
        field: 'policy_id',
      })
      await policies.attach(path, null)
    }
    expectStatus(204, await api.delete(pathOf(policy)))
  })
})

describe('of each rule the nearest statement counts', () => {
  test('block, network, parent, address scope, in this order', async () => {
    await api.createNetworks()
    const names = ['scope', 'top', 'network', 'middle', 'leaf'] as const
    const made: Record<string, Policy> = {}
    for (const [index, name] of names.entries()) {
      // Each states the rule that none below states, and the one that all state.
      const seconds = { quarantine_seconds: index }
      const own = [
        { subnet_selection: 'spread' as const },
        { strategy: 'random' as const },
        { utilisation_thresholds: [50] },
        { quarantine_reuse: 'when_full' as const },
        { exclusions: { first: 3 } },
      ][index]
      made[name] = await policies.create({ ...seconds, ...own }, name)
    }
    const id = (name: (typeof names)[number]) => ({ policy_id: made[name]?.id ?? '' })
    await policies.attach('/v2/address-scopes/public', made.scope ?? null)
    await policies.attach(`/v2/networks/${network_id}`, made.network ?? null)
    const top = await api.createBlock('10.0.0.0/8', id('top'))
    const place = { network_id, ...id('middle') }
    const middle = await api.createBlock('10.1.0.0/16', { parent_id: top.id, ...place })
    const leaf = await api.createBlock('10.1.1.0/24', { parent_id: middle.id, ...id('leaf') })

    const sources = async () =>
      Object.fromEntries(
        Object.entries(await rulesOf(leaf)).map(([rule, { source }]) => [
          rule,
          `${source.policy_name} of ${source.attached_to.type} ${source.attached_to.name}`,
        ]),
      )
    const network = `network of network ${network_id}`
    const inherited = {
      subnet_selection: 'scope of address_scope public',
      strategy: 'top of block 10.0.0.0/8',
      utilisation_thresholds: network,
      quarantine_reuse: 'middle of block 10.1.0.0/16',
    }
    const exclusions = 'leaf of block 10.1.1.0/24'
    expect(await sources()).toEqual({ ...inherited, exclusions, quarantine_seconds: exclusions })

    // Without the nearer ones the next counts; the network of the middle comes behind the middle.
    await policies.attach(`/v2/blocks/${leaf.id}`, null)
    const { quarantine_reuse: fromMiddle } = inherited
    expect(await sources()).toEqual({ ...inherited, quarantine_seconds: fromMiddle })
    await policies.attach(`/v2/blocks/${middle.id}`, null)
    const { quarantine_reuse: _, ...rest } = inherited
    expect(await sources()).toEqual({ ...rest, quarantine_seconds: network })
    await policies.attach(`/v2/networks/${network_id}`, null)
    expect((await sources()).quarantine_seconds).toBe('top of block 10.0.0.0/8')
    await policies.attach(`/v2/blocks/${top.id}`, null)
    expect((await sources()).quarantine_seconds).toBe('scope of address_scope public')
    await policies.attach('/v2/address-scopes/public', null)
    expect(await sources()).toEqual({})
  })

  test('and applies where blocks appear, move under others and go', async () => {
    const policy = await policies.create({ exclusions: { first: 4 } })
    const parent = await api.createBlock('10.0.0.0/28', { policy_id: policy.id })
    expect(await api.freeRanges(parent)).toEqual(['10.0.0.4-10.0.0.14'])
    const [child] = await api.cut(parent, { cidrs: ['10.0.0.8/29'] })
    if (!child) throw new Error('no child')
    expect(await api.freeRanges(parent)).toEqual(['10.0.0.0-10.0.0.7'])
    expect(await api.freeRanges(child)).toEqual(['10.0.0.12-10.0.0.14'])

    const two = await policies.create({ exclusions: { first: 6 } }, 'two')
    const request = { parent_id: parent.id, adopt_children: true, policy_id: two.id }
    expectStatus(201, await api.post('/v2/blocks', { cidr: '10.0.0.8/29', ...request }))
    expect(await api.freeRanges(child)).toEqual(['10.0.0.14-10.0.0.14'])
    expect(await rulesOf(child)).toMatchObject({ exclusions: { source: { policy_name: 'two' } } })
  })

  test('also after a block grew, shrank, and lost its last child', async () => {
    const { id: policy_id } = await policies.create({ exclusions: { last: 3, last_octets: [4] } })
    const parent = await api.createBlock('10.0.0.0/27', { policy_id })
    const [child] = await api.cut(parent, { cidrs: ['10.0.0.0/29'] })
    if (!child) throw new Error('no child')
    expect(await api.freeRanges(child)).toEqual(['10.0.0.1-10.0.0.4'])
    expect(await api.utilisation(child)).toMatchObject({ free: '3', excluded: '5' })
    expectStatus(200, await api.patch(`/v2/blocks/${child.id}`, { cidr: '10.0.0.0/28' }))
    expect(await api.freeRanges(child)).toEqual(['10.0.0.1-10.0.0.12'])
    expect(await api.utilisation(child)).toMatchObject({ free: '11', excluded: '5' })
    expectStatus(200, await api.patch(`/v2/blocks/${child.id}`, { cidr: '10.0.0.8/29' }))
    expect(await api.freeRanges(child)).toEqual(['10.0.0.9-10.0.0.12'])
    expectStatus(204, await api.delete(`/v2/blocks/${child.id}`))
    expect(await api.freeRanges(parent)).toEqual(['10.0.0.1-10.0.0.28'])
    expect(await api.utilisation(parent)).toMatchObject({ free: '27', excluded: '5' })
  })
})

test('children have the prefix lengths that the rules of their parent allow', async () => {
  const policy = await policies.create({
    child_prefix_lengths: { ipv4: { min: 24, max: 26 }, ipv6: { min: 64, max: 64 } },
  })
  const parent = await api.createBlock('10.0.0.0/8', { policy_id: policy.id })
  const cut = (prefix_length: number) =>
    api.post(`/v2/blocks/${parent.id}/children`, { prefix_length })
  expectProblem(await cut(23), 'prefix_length_refused', {
    status: 409,
    detail: '10.0.0.0/23: policy `edge` allows children of /24 to /26.',
  })
  expectProblem(await cut(27), 'prefix_length_refused')
  const [child] = expectStatus(201, await cut(24)).blocks
  const path = `/v2/blocks/${child?.id}`
  expectProblem(await api.patch(path, { cidr: '10.0.0.0/23' }), 'prefix_length_refused', {
    detail: '10.0.0.0/23: policy `edge` allows children of /24 to /26.',
  })
  expectStatus(200, await api.patch(path, { cidr: '10.0.0.0/25' }))

  await policies.attach('/v2/address-scopes/public', policy)
  const top = { scope_id: 'public', cidr: '2001:db8::/63' }
  expectProblem(await api.post('/v2/blocks', top), 'prefix_length_refused', {
    detail:
      '2001:db8::/63: policy `edge` allows children of /64, inherited from address scope public.',
  })
  await api.createBlock('2001:db8::/64')
})
