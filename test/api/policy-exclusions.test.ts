import { describe, expect, test } from 'vitest'
import { sql } from '../../src/db/sql.ts'
import type { PolicyRulesRequest } from '../../src/resources/policies/schema.ts'
import { expectProblem, expectStatus, networks, useApi } from '../helpers/api.ts'
import { policiesOf } from '../helpers/policies.ts'

const api = useApi()

const policies = policiesOf(api)
type Exclusions = NonNullable<PolicyRulesRequest['exclusions']>
const [network_id] = networks

test('free space is shown by what it is given out for, and no prefix lies across it', async () => {
  const kept = { purposes: [{ purpose: 'vip', addresses: ['192.0.2.4/30'] }] }
  const block = await policies.createRuled('192.0.2.0/28', kept, { allocate_network_address: true })
  const { free_ranges } = (await api.get(`/v2/blocks/${block.id}/free-ranges`)).body
  expect(free_ranges).toEqual([
    { first: '192.0.2.0', last: '192.0.2.3', size: '4', purpose: null },
    { first: '192.0.2.4', last: '192.0.2.7', size: '4', purpose: 'vip' },
    { first: '192.0.2.8', last: '192.0.2.14', size: '7', purpose: null },
  ])
  const { free_prefixes } = (await api.get(`/v2/blocks/${block.id}/free-prefixes`)).body
  expect(free_prefixes.slice(0, 2)).toEqual(['192.0.2.0/30', '192.0.2.4/30'])
})

describe('exclusions take just what they name, and give it back', () => {
  const v4 = '192.0.2.0/28'
  const v6 = '2001:db8::/124'
  const cases: [Exclusions, string, string[], number][] = [
    [{ offsets: [{ from: 4, to: 5 }] }, v4, ['1-3', '6-14'], 12],
    [{ offsets: [{ from: '-4', to: '-3' }] }, v4, ['1-11', '14-14'], 12],
    [{ offsets: [{ from: 14, to: 99 }] }, v4, ['1-13'], 13],
    [{ offsets: [{ from: 99, to: 100 }] }, v4, ['1-14'], 14],
    [{ first: 5 }, v4, ['5-14'], 10],
    [{ last: 5 }, v4, ['1-10'], 10],
    [{ first: 0, last: 0 }, v4, ['1-14'], 14],
    [{ first: 16 }, v4, [], 0],
    [{ last: '340282366920938463463374607431768211456' }, v4, [], 0],
    [{ addresses: ['192.0.2.1', '192.0.2.8/30'] }, v4, ['2-7', '12-14'], 9],
    [{ addresses: ['192.0.0.0/16'] }, v4, [], 0],
    [{ addresses: ['2001:db8::/32', '198.51.100.1'] }, v4, ['1-14'], 14],
    [{ first: 2, addresses: ['192.0.2.0/29'] }, v4, ['8-14'], 7],
    [{}, v4, ['1-14'], 14],
    [{ first: 4, last: 4 }, v6, ['4-b'], 8],
    [{ addresses: ['2001:db8::5'] }, v6, ['1-4', '6-f'], 14],
    [{ offsets: [{ from: -1, to: -1 }] }, v6, ['1-e'], 14],
  ]
  test.each(cases)('%j in %s', async (exclusions, cidr, runs, free) => {
    const block = await api.createBlock(cidr)
    const look = async () => [await api.freeRanges(block), await api.utilisation(block)] as const
    const before = await look()

    await policies.attach(`/v2/blocks/${block.id}`, await policies.create({ exclusions }))
    const [ranges, counts] = await look()
    const base = cidr.replace(/0?\/.*/, '')
    expect(ranges).toEqual(runs.map(run => run.replaceAll(/\w+/g, `${base}$&`)))
    expect(counts).toMatchObject({ free: `${free}`, excluded: `${16 - free}`, allocated: '0' })

    await policies.attach(`/v2/blocks/${block.id}`, null)
    expect(await look()).toEqual(before)
  })

  test('also where a block gives out the address that was free for longest', async () => {
    const block = await policies.createRuled(
      '192.0.2.0/29',
      { exclusions: { first: 3 } },
      {
        strategy: 'least_recently_used',
      },
    )
    const all = await api.allocate(block, { count: 4 })
    for (const one of all.toReversed()) await api.release(one)
    // What is excluded no more is the youngest.
    await policies.attach(`/v2/blocks/${block.id}`, null)
    const next = (await api.allocate(block, { count: 6 })).map(({ address }) => address)
    expect(next).toEqual([6, 5, 4, 3, 1, 2].map(host => `192.0.2.${host}`))
  })
})

describe('what is held although it is excluded', () => {
  test('stays, is reported, and becomes neither free nor lost by its release', async () => {
    const block = await api.createBlock('192.0.2.0/28')
    const policy = await policies.create({})
    await policies.attach(`/v2/blocks/${block.id}`, policy)
    const held = await api.allocate(block, { count: 5 })
    const [prefix] = await api.allocate(block, { address: '192.0.2.8/30' })

    const changed = await policies.change(policy, {
      rules: { exclusions: { addresses: ['192.0.2.3', '192.0.2.10/31'], last_octets: [5, 6, 14] } },
    })
    const addresses = ['192.0.2.3', '192.0.2.5', '192.0.2.8/30']
    expect(changed.exceptions.map(({ address }) => address)).toEqual(addresses)
    expect(changed.exceptions[0]).toEqual(held[2])
    expect(await policies.exceptions(policy)).toEqual(addresses)
    const counts = await api.utilisation(block)
    expect(counts).toMatchObject({ total: '16', allocated: '9', excluded: '4', free: '3' })

    for (const one of [...held, prefix]) if (one) await api.release(one)
    expect(await policies.exceptions(policy)).toEqual([])
    const after = await api.utilisation(block)
    expect(after).toMatchObject({ total: '16', allocated: '0', excluded: '8', free: '8' })
    const given = (await api.allocate(block, { count: 8 })).map(({ address }) => address)
    expect(given).toEqual([1, 2, 4, 7, 8, 9, 12, 13].map(host => `192.0.2.${host}`))
    expectProblem(await api.ask(block), 'block_full')

    await policies.change(policy, { rules: {} })
    const freed = (await api.allocate(block, { count: 6 })).map(({ address }) => address)
    expect(freed).toEqual([3, 5, 6, 10, 11, 14].map(host => `192.0.2.${host}`))
  })

  test('is reported for the policy whose rule excludes it, and for no other', async () => {
    const top = await policies.create({ exclusions: { last_octets: [2] } }, 'top')
    const near = await policies.create({ exclusions: { last_octets: [3] } }, 'near')
    const idle = await policies.create({ strategy: 'sequential' }, 'idle')
    const parent = await api.createBlock('10.0.0.0/8')
    const blocks = await api.cut(parent, { cidrs: ['10.1.0.0/24', '10.2.0.0/24', '10.3.0.0/24'] })
    for (const block of blocks) await api.allocate(block, { count: 4 })
    const [, second, third] = blocks
    await policies.attach(`/v2/blocks/${parent.id}`, top)
    await policies.attach(`/v2/blocks/${second?.id}`, near)
    await policies.attach(`/v2/blocks/${third?.id}`, idle)

    expect(await policies.exceptions(top)).toEqual(['10.1.0.2', '10.3.0.2'])
    expect(await policies.exceptions(near)).toEqual(['10.2.0.3'])
    expect(await policies.exceptions(idle)).toEqual([])
    const { exceptions } = await policies.change(idle, { rules: { strategy: 'random' } })
    expect(exceptions).toEqual([])
  })

  test('is named by a change up to ten times, and listed in pages', async () => {
    const policy = await policies.create({})
    const block = await api.createBlock('10.0.0.0/24', { policy_id: policy.id })
    await api.allocate(block, { count: 25 })
    const { exceptions } = await policies.change(policy, { rules: { exclusions: { first: 21 } } })
    expect(exceptions).toHaveLength(10)
    const pages = await api.pages('allocations', `/v2/policies/${policy.id}/exceptions?limit=8`)
    expect(pages.map(page => page.length)).toEqual([8, 8, 4])
    expect(new Set(pages.flat().map(({ id }) => id)).size).toBe(20)
    const list = `/v2/policies/${policy.id}/exceptions`
    expectProblem(await api.get(`${list}?marker=invented`), 'marker_invalid')
    expectProblem(await api.get(`${list}?state=held`), 'invalid_request')
    expectProblem(
      await api.get('/v2/policies/3f2b0a52-6c1d-4f0e-9a55-0d6c6f1f0001/exceptions'),
      'policy_not_found',
    )
  })
})

describe('a refusal says what excludes an address', () => {
  const refusalOf = async (block: { id: string }, address: string, purpose?: string) => {
    const answer = await api.ask(block, { address, ...(purpose && { purpose }) })
    expectProblem(answer, 'address_excluded', { status: 409, field: 'address' })
    return answer.body.detail
  }

  test('by octet, by address, by place, and where the rule comes from', async () => {
    const policy = await policies.create({
      exclusions: {
        last_octets: [0, 255],
        addresses: ['10.1.0.7', '10.1.0.64/26'],
        offsets: [
          { from: 9, to: 9 },
          { from: -4, to: -3 },
        ],
        first: 2,
      },
      purposes: [{ purpose: 'vip', offsets: [{ from: 32, to: 47 }] }],
    })
    const parent = await api.createBlock('10.0.0.0/8', { policy_id: policy.id })
    const [block] = await api.cut(parent, { cidrs: ['10.1.0.0/22'] })
    if (!block) throw new Error('no block')
    const by = 'policy `edge`'
    const from = 'inherited from 10.0.0.0/8'
    expect(await refusalOf(block, '10.1.1.0')).toBe(
      '10.1.1.0 is excluded by policy `edge`, last octet 0, inherited from 10.0.0.0/8.',
    )
    for (const [address, why] of [
      ['10.1.2.255', `is excluded by ${by}, last octet 255, ${from}`],
      ['10.1.0.7', `is excluded by ${by}, 10.1.0.7, ${from}`],
      ['10.1.0.70', `is excluded by ${by}, 10.1.0.64/26, ${from}`],
      ['10.1.0.9', `is excluded by ${by}, offset 9, ${from}`],
      ['10.1.3.252', `is excluded by ${by}, offsets -4 to -3, ${from}`],
      ['10.1.0.1', `is excluded by ${by}, first 2, ${from}`],
      ['10.1.0.33', `is kept back by ${by}, only for \`vip\`, ${from}`],
      ['10.1.0.0', 'is the network address of 10.1.0.0/22'],
      ['10.1.0.64/30', `is excluded by ${by}, 10.1.0.64/26, ${from}`],
      ['10.1.0.44/30', `is kept back by ${by}, only for \`vip\`, ${from}`],
    ] as const) {
      expect(await refusalOf(block, address)).toBe(`${address} ${why}.`)
    }

    // What the words say follows the names: of the policy, and of the block it is attached to.
    await policies.change(policy, { name: 'outer {octet}' })
    expect(await refusalOf(block, '10.1.1.0')).toBe(
      '10.1.1.0 is excluded by policy `outer {octet}`, last octet 0, inherited from 10.0.0.0/8.',
    )
    expectStatus(200, await api.patch(`/v2/blocks/${parent.id}`, { cidr: '10.0.0.0/7' }))
    expect(await refusalOf(block, '10.1.0.7')).toBe(
      '10.1.0.7 is excluded by policy `outer {octet}`, 10.1.0.7, inherited from 10.0.0.0/7.',
    )
    await policies.attach(`/v2/blocks/${parent.id}`, null)
    await policies.attach(`/v2/blocks/${block.id}`, policy)
    expect(await refusalOf(block, '10.1.1.0')).toBe(
      '10.1.1.0 is excluded by policy `outer {octet}`, last octet 0.',
    )
  })

  test('by a policy on a network or an address scope', async () => {
    const policy = await policies.create({ exclusions: { last_octets: [4] } })
    await api.createNetworks()
    const block = await api.createBlock('10.0.0.0/24', { network_id })
    const network = `/v2/networks/${network_id}`
    await policies.attach(network, policy)
    const because = '10.0.0.4 is excluded by policy `edge`, last octet 4, inherited from'
    expect(await refusalOf(block, '10.0.0.4')).toBe(`${because} network ${network_id}.`)
    expectStatus(200, await api.patch(network, { name: 'web' }))
    expect(await refusalOf(block, '10.0.0.4')).toBe(`${because} network web.`)
    await policies.attach(network, null)
    await policies.attach('/v2/address-scopes/public', policy)
    expect(await refusalOf(block, '10.0.0.4')).toBe(`${because} address scope public.`)
  })
})

describe('excluded octets', () => {
  const all = Array.from({ length: 256 }, (_, octet) => octet)

  test('are skipped by a prefix that is a single address', async () => {
    const block = await policies.createRuled('10.0.0.0/28', { exclusions: { last_octets: [1, 2] } })
    expect(await api.allocateOne(block, { prefix_length: 32 })).toMatchObject({
      address: '10.0.0.3',
    })
  })

  test('are skipped by contiguous addresses, also across runs of different ages', async () => {
    const block = await policies.createRuled(
      '10.0.0.0/29',
      { exclusions: { last_octets: [4] } },
      { strategy: 'least_recently_used', allocate_network_address: true },
    )
    const held = await api.allocate(block, { count: 6 })
    for (const one of held) await api.release(one)
    const row = await api.allocate(block, { count: 4, contiguous: true })
    expect(row.map(({ address }) => address)).toEqual([0, 1, 2, 3].map(host => `10.0.0.${host}`))
    expectProblem(await api.ask(block, { count: 2, contiguous: true }), 'no_free_prefix')
  })

  test.each(['sequential', 'least_recently_used', 'random'] as const)(
    'are skipped where runs of 2^32 addresses meet, %s',
    async strategy => {
      const block = await policies.createRuled(
        '2001:db8::/95',
        {
          exclusions: {
            first: 2 ** 32 - 2,
            offsets: [{ from: 2 ** 32 + 3, to: -1 }],
            last_octets: [254, 255, 1],
          },
        },
        { strategy },
      )
      const given = (await api.allocate(block, { count: 2 })).map(({ address }) => address)
      expect(given.sort()).toEqual(['2001:db8::1:0:0', '2001:db8::1:0:2'])
      expectProblem(await api.ask(block), 'block_full')
    },
  )

  test.each([
    ['10.0.0.0/8', all.filter(octet => octet % 2 === 0), 2n ** 23n],
    ['2001:db8::/64', all.slice(1), 2n ** 56n],
    ['0.0.0.0/0', [0, 255], 2n ** 32n - 2n ** 25n],
    ['::/0', [255], 2n ** 128n - 2n ** 120n],
  ])('of %s cost a row each neither at creation nor later', async (cidr, last_octets, free) => {
    const block = await policies.createRuled(cidr, { exclusions: { last_octets } })
    const [rows] = (await api.db.query(sql`
      select (select count(*) from free_ranges)::int as free,
        (select count(*) from kept_ranges)::int as kept`)) as { free: number; kept: number }[]
    expect(rows?.free).toBeLessThanOrEqual(3)
    expect(rows?.kept).toBeLessThanOrEqual(2)
    const { free: counted } = await api.utilisation(block)
    const own = rows?.kept ?? 0
    // Network and broadcast address may have an excluded octet themselves.
    expect(free - BigInt(counted)).toBeLessThanOrEqual(BigInt(own))
    expect(free).toBeGreaterThanOrEqual(BigInt(counted))
    const taken = await api.allocate(block, { count: 600 })
    const octetOf = (address: string) => {
      const part = address.split(/[.:]/).at(-1) || '0'
      return address.includes(':') ? Number.parseInt(part, 16) % 256 : Number(part)
    }
    for (const { address } of taken) expect(last_octets).not.toContain(octetOf(address))
    expect(new Set(taken.map(({ address }) => address)).size).toBe(600)
  })
})
