import fc from 'fast-check'
import { Compile } from 'typebox/compile'
import { describe, expect, test } from 'vitest'
import { type Prefix, parsePrefix } from '../../ip/prefix.ts'
import {
  type AttachedPolicy,
  childRefusal,
  keptOctets,
  keptRanges,
  type ResolvedRules,
  type RuledBlock,
  readRules,
  resolveRules,
  showPolicy,
  showRules,
} from './rules.ts'
import { PolicyRulesRequest, type RuleSource, type StoredPolicy, StoredRules } from './schema.ts'

const here = '00000000-0000-7000-8000-000000000001'
const above = '00000000-0000-7000-8000-000000000002'

const attachedTo = {
  itself: { type: 'block', id: here, name: '10.0.0.0/24' },
  parent: { type: 'block', id: above, name: '10.0.0.0/8' },
  network: { type: 'network', id: here, name: 'storage' }, // Its id may be any text.
  scope: { type: 'address_scope', id: above, name: 'public' },
} as const satisfies Record<string, RuleSource['attached_to']>
type Place = keyof typeof attachedTo

const link = (name: string, place: Place, rules: StoredRules): AttachedPolicy => ({
  policy: { id: `id of ${name}`, name, rules },
  attached_to: attachedTo[place],
})
const edge = (place: Place, rules: StoredRules) => resolveRules([link('edge', place, rules)])

const block = (cidr: string, more: Partial<RuledBlock> = {}): RuledBlock => ({
  id: here,
  cidr,
  gateway_ip: null,
  allocate_network_address: false,
  ...more,
})

/** The ranges as offsets into the block, short enough to read. */
function kept(of: RuledBlock, rules: ResolvedRules) {
  const start = parsePrefix(of.cidr)?.prefix.first ?? 0n
  return keptRanges(of, rules).map(({ first, last, purpose, reason }) => [
    `${first - start}-${last - start}`,
    purpose === null ? reason : `${purpose}: ${reason}`,
  ])
}

describe('resolveRules', () => {
  test('of each rule the nearest policy that states it counts, as a whole', () => {
    const chain = [
      link('near', 'itself', { strategy: 'random', exclusions: {} }),
      link('middle', 'network', { strategy: 'sequential', quarantine_seconds: 0 }),
      link('far', 'scope', { exclusions: { first: '9' }, quarantine_seconds: 60, purposes: [] }),
    ]
    const found = Object.entries(resolveRules(chain)).map(([rule, { value, source }]) => [
      rule,
      value,
      source.policy_name,
      source.attached_to.name,
    ])
    expect(found).toEqual([
      ['strategy', 'random', 'near', '10.0.0.0/24'],
      ['exclusions', {}, 'near', '10.0.0.0/24'],
      ['quarantine_seconds', 0, 'middle', 'storage'],
      ['purposes', [], 'far', 'public'],
    ])
  })

  test('without policies there are no rules', () => {
    expect(resolveRules([])).toEqual({})
    expect(resolveRules([link('empty', 'itself', {})])).toEqual({})
  })
})

describe('keptRanges', () => {
  test.each<[Place, string]>([
    ['itself', 'policy `edge`, first 10'],
    ['parent', 'policy `edge`, first 10, inherited from 10.0.0.0/8'],
    ['network', 'policy `edge`, first 10, inherited from network storage'],
    ['scope', 'policy `edge`, first 10, inherited from address scope public'],
  ])('a rule attached to %s: %s', (place, reason) => {
    const of = block('10.0.0.0/24', { allocate_network_address: true })
    expect(kept(of, edge(place, { exclusions: { first: '10' } }))[0]).toEqual(['0-9', reason])
  })

  test('its own addresses come before exclusions, and these before purposes', () => {
    const of = block('10.0.0.0/24', { gateway_ip: '10.0.0.1' })
    const rules = edge('itself', {
      exclusions: {
        offsets: [
          { from: '0', to: '2' },
          { from: '-5', to: '-1' },
          { from: '100', to: '100' },
        ],
        first: '5',
        last: '6',
        addresses: ['10.0.0.3', '10.0.0.64/30', '10.0.1.1', '2001:db8::/32'],
      },
      purposes: [
        { purpose: 'load-balancer', offsets: [{ from: '60', to: '70' }] },
        { purpose: 'gateway', addresses: ['10.0.0.0/28', '10.0.0.16/28'] },
      ],
    })
    expect(kept(of, rules)).toEqual([
      ['0-0', 'network address'],
      ['1-1', 'gateway'],
      ['2-2', 'policy `edge`, offsets 0 to 2'],
      ['3-4', 'policy `edge`, first 5'],
      ['5-31', 'gateway: policy `edge`, only for `gateway`'],
      ['60-63', 'load-balancer: policy `edge`, only for `load-balancer`'],
      ['64-67', 'policy `edge`, 10.0.0.64/30'],
      ['68-70', 'load-balancer: policy `edge`, only for `load-balancer`'],
      ['100-100', 'policy `edge`, offset 100'],
      ['250-250', 'policy `edge`, last 6'],
      ['251-254', 'policy `edge`, offsets -5 to -1'],
      ['255-255', 'broadcast address'],
    ])
  })

  test('what reaches beyond the block is cut, and what lies outside is not there', () => {
    const of = block('10.0.0.0/30', { allocate_network_address: true })
    const offsets = (from: string, to: string) =>
      kept(of, edge('itself', { exclusions: { offsets: [{ from, to }] } })).map(([at]) => at)
    expect(offsets('2', '900')).toEqual(['2-2', '3-3'])
    expect(offsets('-900', '0')).toEqual(['0-0', '3-3'])
    expect(offsets('900', '901')).toEqual(['3-3'])
    expect(offsets('-901', '-900')).toEqual(['3-3'])
    expect(offsets('2', '1')).toEqual(['3-3'])
    expect(offsets('1', '-3')).toEqual(['1-1', '3-3'])
    expect(offsets(String(-(2n ** 128n)), String(2n ** 128n))).toEqual(['0-2', '3-3'])
  })

  test('the whole of IPv6 can be kept for a purpose', () => {
    const rules = edge('scope', { purposes: [{ purpose: 'lab', last: String(2n ** 128n) }] })
    expect(keptRanges(block('::/0'), rules)).toEqual([
      {
        first: 0n,
        last: 2n ** 128n - 1n,
        purpose: 'lab',
        reason: 'policy `edge`, only for `lab`, inherited from address scope public',
      },
    ])
  })

  test('`{}` excludes nothing of its own', () => {
    expect(kept(block('2001:db8::/64'), edge('itself', { exclusions: {} }))).toEqual([
      ['0-0', 'network address'],
    ])
  })

  test.each(['10.0.0.0/8', '::/0'])('of a full policy takes no time in %s', cidr => {
    const addresses = Array.from({ length: 1024 }, (_, n) =>
      cidr === '::/0' ? `2001:db8:${(n % 32) * 64}::/${42 + (n >> 5)}` : `10.${n >> 2}.${n & 3}.7`,
    )
    const offsets = Array.from({ length: 64 }, (_, n) => ({ from: `${n * 50}`, to: `${-n * 9}` }))
    const rules = edge('itself', { exclusions: { addresses, offsets, first: '9', last: '9' } })
    const times = Array.from({ length: 20 }, () => {
      const before = process.cpuUsage() // Its own time: others share the processors.
      keptRanges(block(cidr), rules)
      return process.cpuUsage(before).user / 1000
    })
    expect(Math.min(...times)).toBeLessThan(10)
  })
})

describe('keptOctets', () => {
  test('are those of the policy, and say why', () => {
    const rules = edge('parent', { exclusions: { last_octets: [0, 255] } })
    const { octets, reason } = keptOctets({ id: here }, rules)
    expect(octets).toEqual([0, 255])
    expect(reason).toBe('policy `edge`, last octet {octet}, inherited from 10.0.0.0/8')
  })

  test('are none where the nearest exclusions have none', () => {
    const chain = [
      link('near', 'itself', { exclusions: { first: '1' } }),
      link('far', 'scope', { exclusions: { last_octets: [0] } }),
    ]
    const { octets, reason } = keptOctets({ id: here }, resolveRules(chain))
    expect(octets).toEqual([])
    expect(reason).toBeNull()
    expect(keptOctets({ id: here }, {}).octets).toEqual([])
  })
})

describe('childRefusal', () => {
  const both = { ipv4: { min: 24, max: 28 } }
  test.each([
    [both, '10.0.0.0/24', null],
    [both, '10.0.0.0/28', null],
    [both, '10.0.0.0/23', 'allows children of /24 to /28'],
    [both, '10.0.0.0/29', 'allows children of /24 to /28'],
    [both, '2001:db8::/48', null],
    [{ ipv4: { min: 24 } }, '10.0.0.0/32', null],
    [{ ipv4: { min: 24 } }, '10.0.0.0/23', 'allows children of /24 and longer'],
    [{ ipv4: { max: 24 } }, '0.0.0.0/0', null],
    [{ ipv4: { max: 24 } }, '10.0.0.0/25', 'allows children of /24 and shorter'],
    [{ ipv6: { min: 64, max: 64 } }, '2001:db8::/56', 'allows children of /64'],
    [{ ipv6: { min: 64, max: 64 } }, '2001:db8::/64', null],
    [{ ipv6: {} }, '::/128', null],
    [{}, '10.0.0.0/24', null],
  ])('%j and %s: %s', (child_prefix_lengths, cidr, words) => {
    const prefix = parsePrefix(cidr)?.prefix as Prefix
    const refusal = (place: Place, parent_id: string | null) =>
      childRefusal(edge(place, { child_prefix_lengths }), { parent_id, prefix })
    expect(refusal('itself', here)).toBe(words && `policy \`edge\` ${words}`)
    expect(refusal('parent', here)).toBe(
      words && `policy \`edge\` ${words}, inherited from 10.0.0.0/8`,
    )
    expect(refusal('scope', null)).toBe(
      words && `policy \`edge\` ${words}, inherited from address scope public`,
    )
  })

  test('nothing is refused where no policy says', () => {
    const prefix = parsePrefix('10.0.0.0/24')?.prefix as Prefix
    expect(childRefusal({}, { parent_id: null, prefix })).toBeNull()
  })
})

describe('readRules', () => {
  const secret = 'made by the server'
  const read = (rules: PolicyRulesRequest) => readRules(rules, { secret, project_id: null })
  const isRequest = Compile(PolicyRulesRequest)
  const isStored = Compile(StoredRules)

  test('writes each value in its one spelling', () => {
    const request: PolicyRulesRequest = {
      exclusions: {
        offsets: [{ from: -5, to: '-1' }],
        first: 2 ** 53 - 1,
        last: String(2n ** 128n),
        last_octets: [255, 0, 10, 0],
        addresses: ['2001:DB8:0::/48', '192.0.2.1', '192.0.2.1/32', '::FFFF:192.0.2.1'],
      },
      utilisation_thresholds: [95, 9, 80, 95],
      ipv6_generator: { kind: 'stable_private' },
      purposes: [{ purpose: 'lab', first: 0, addresses: ['2001:DB8::'] }],
      child_prefix_lengths: { ipv4: { min: 24, max: 24 }, ipv6: { min: 48 } },
      quarantine_seconds: 0,
      boot_files: [
        { architectures: [9, 7, 7], server: 'Boot.Example.ORG.', file: 'ipxe.efi' },
        { architectures: [0], server: '2001:DB8:0::5', file: 'tftp://[::1]/undionly.kpxe' },
        { architectures: [16], file: 'http://192.0.2.7/efi' },
      ],
    }
    expect(isRequest.Check(request)).toBe(true)
    expect(read(request)).toEqual({
      exclusions: {
        offsets: [{ from: '-5', to: '-1' }],
        first: '9007199254740991',
        last: '340282366920938463463374607431768211456',
        last_octets: [0, 10, 255],
        addresses: ['2001:db8::/48', '192.0.2.1', '192.0.2.1/32', '::ffff:192.0.2.1'],
      },
      utilisation_thresholds: [9, 80, 95],
      ipv6_generator: { kind: 'stable_private', secret },
      purposes: [{ purpose: 'lab', first: '0', addresses: ['2001:db8::'] }],
      child_prefix_lengths: { ipv4: { min: 24, max: 24 }, ipv6: { min: 48 } },
      quarantine_seconds: 0,
      boot_files: [
        { architectures: [7, 9], server: 'boot.example.org', file: 'ipxe.efi' },
        { architectures: [0], server: '2001:db8::5', file: 'tftp://[::1]/undionly.kpxe' },
        { architectures: [16], server: null, file: 'http://192.0.2.7/efi' },
      ],
    })
  })

  test('lets a policy of a project give addresses of that one alone', () => {
    const rules = { unknown_clients: { lease_seconds: 60, project_id: 'red' } }
    for (const project_id of [null, 'red']) {
      expect(readRules(rules, { secret, project_id })).toEqual(rules)
    }
    expect(() => readRules(rules, { secret, project_id: 'blue' })).toThrow(
      expect.objectContaining({
        code: 'invalid_request',
        facts: { field: 'rules/unknown_clients/project_id' },
      }),
    )
    for (const unknown_clients of [null, { lease_seconds: 60 }]) {
      expect(readRules({ unknown_clients }, { secret, project_id: 'blue' })).toEqual({
        unknown_clients,
      })
    }
  })

  test('adds nothing, except a secret where one is needed', () => {
    expect(read({})).toEqual({})
    expect(read({ exclusions: {} })).toEqual({ exclusions: {} })
    expect(read({ purposes: [] })).toEqual({ purposes: [] })
    expect(read({ ipv6_generator: { kind: 'eui64' } })).toEqual({
      ipv6_generator: { kind: 'eui64' },
    })
    const ours = { kind: 'stable_private', secret: 'our own secret, kept' } as const
    expect(read({ ipv6_generator: ours })).toEqual({ ipv6_generator: ours })
  })

  test.each<[field: string, words: string, PolicyRulesRequest]>([
    ['exclusions/addresses/1', 'host bits', { exclusions: { addresses: ['::', '10.0.0.1/8'] } }],
    ['exclusions/addresses/0', 'not an IPv4 or IPv6', { exclusions: { addresses: ['10.0.0'] } }],
    ['exclusions/addresses/0', 'not a CIDR', { exclusions: { addresses: ['10.0.0.0/33'] } }],
    ['exclusions/last', 'beyond 2^128', { exclusions: { last: '9'.repeat(39) } }],
    [
      'exclusions/offsets/0/from',
      'beyond 2^128',
      { exclusions: { offsets: [{ from: `-${2n ** 128n + 1n}`, to: 0 }] } },
    ],
    [
      'purposes/1/addresses/0',
      'not an IPv4 or IPv6',
      {
        purposes: [
          { purpose: 'a', first: 1 },
          { purpose: 'b', addresses: ['a'] },
        ],
      },
    ],
    ['purposes/1/purpose', 'already', { purposes: [{ purpose: 'a', first: 1 }, { purpose: 'a' }] }],
    ['purposes/0', 'no addresses', { purposes: [{ purpose: 'a' }] }],
    [
      'purposes',
      'more than 1024',
      { purposes: ['a', 'b'].map(purpose => ({ purpose, addresses: Array(513).fill('::1') })) },
    ],
    [
      'child_prefix_lengths/ipv6/min',
      'greater',
      { child_prefix_lengths: { ipv6: { min: 64, max: 63 } } },
    ],
    [
      'ipv6_generator/secret',
      '`stable_private` only',
      { ipv6_generator: { kind: 'tenant', secret: 'sixteen letters.' } },
    ],
    [
      'boot_files/1/server',
      'neither an address',
      {
        boot_files: [
          { architectures: [0], file: 'a' },
          { architectures: [0], server: 'a..b', file: 'b' },
        ],
      },
    ],
  ])('refuses %s: %s', (field, words, rules) => {
    expect(isRequest.Check(rules)).toBe(true)
    expect(() => read(rules)).toThrow(
      expect.objectContaining({
        code: words === 'host bits' ? 'cidr_has_host_bits' : 'invalid_request',
        facts: expect.objectContaining({ field: `rules/${field}` }),
        message: expect.stringContaining(words),
      }),
    )
  })

  test('what it gives can be stored, and sent again to the same effect', () => {
    const number = fc.oneof(fc.maxSafeInteger(), fc.bigInt(-(2n ** 128n), 2n ** 128n).map(String))
    const count = fc.oneof(fc.maxSafeNat(), fc.bigInt(0n, 2n ** 128n).map(String))
    const words = {
      offsets: fc.array(fc.record({ from: number, to: number }), { maxLength: 3 }),
      first: count,
      last: count,
      addresses: fc.array(fc.oneof(fc.ipV4(), fc.ipV6()), { maxLength: 3 }),
    }
    const octets = fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 255 })
    const request = fc.record(
      {
        exclusions: fc.record({ ...words, last_octets: octets }, { requiredKeys: [] }),
        ipv6_generator: fc.record({ kind: fc.constantFrom('random', 'stable_private') }),
        purposes: fc.array(fc.record({ purpose: fc.constant('lab'), ...words }), { maxLength: 1 }),
        utilisation_thresholds: fc.array(fc.integer({ min: 1, max: 100 }), { maxLength: 8 }),
        subnet_selection: fc.constantFrom('fill_first', 'spread'),
        unknown_clients: fc.constantFrom(null, { lease_seconds: 60, purpose: 'guests' }),
        boot_files: fc.array(
          fc.record(
            {
              architectures: fc.array(fc.nat(65_535), { minLength: 1, maxLength: 64 }),
              server: fc.oneof(fc.constant(null), fc.ipV4(), fc.ipV6(), fc.domain()),
              file: fc.constantFrom('a', '/b?c=d'),
            },
            { requiredKeys: ['architectures', 'file'] },
          ),
          { maxLength: 3 },
        ),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(request, rules => {
        expect(isRequest.Check(rules)).toBe(true)
        const stored = read(rules)
        expect(isStored.Check(stored)).toBe(true)
        expect(isRequest.Check(stored)).toBe(true)
        expect(readRules(stored, { secret: 'another secret..', project_id: null })).toEqual(stored)
      }),
    )
  })
})

test.each([
  ['an unknown rule', { unknown: 1 }],
  ['an offset without an end', { exclusions: { offsets: [{ from: 1 }] } }],
  ['a leading zero', { exclusions: { offsets: [{ from: '01', to: '2' }] } }],
  ['what JSON cannot hold', { exclusions: { offsets: [{ from: 2 ** 53, to: 2 ** 53 }] } }],
  ['65 offsets', { exclusions: { offsets: Array(65).fill({ from: 0, to: 0 }) } }],
  ['1025 addresses', { exclusions: { addresses: Array(1025).fill('::1') } }],
  ['a negative count', { exclusions: { first: -1 } }],
  ['a negative count as text', { exclusions: { first: '-1' } }],
  ['half an address', { exclusions: { first: 1.5 } }],
  ['octet 256', { exclusions: { last_octets: [256] } }],
  ['all octets', { exclusions: { last_octets: Array.from({ length: 256 }, (_, at) => at) } }],
  ['no purpose', { purposes: [{}] }],
  ['a purpose with capitals', { purposes: [{ purpose: 'Load Balancer' }] }],
  ['octets of a purpose', { purposes: [{ purpose: 'a', last_octets: [1] }] }],
  ['65 purposes', { purposes: Array.from({ length: 65 }, (_, at) => ({ purpose: `p${at}` })) }],
  ['more than ten years', { quarantine_seconds: 315_360_001 }],
  ['another word', { quarantine_reuse: 'always' }],
  ['15 letters', { ipv6_generator: { kind: 'stable_private', secret: 'fifteen letters' } }],
  ['no kind of generator', { ipv6_generator: {} }],
  ['33 bits of IPv4', { child_prefix_lengths: { ipv4: { min: 33 } } }],
  ['0 %', { utilisation_thresholds: [0] }],
  ['a lease of a minute less a second', { unknown_clients: { lease_seconds: 59 } }],
  ['a lease of more than a year', { unknown_clients: { lease_seconds: 31_536_001 } }],
  ['a lease of no length', { unknown_clients: {} }],
  ['a boot file of nobody', { boot_files: [{ architectures: [], file: 'a' }] }],
  ['a boot file with a blank', { boot_files: [{ architectures: [0], file: 'a b' }] }],
  ['a boot file with a line end', { boot_files: [{ architectures: [0], file: 'a\n' }] }],
  ['no boot file', { boot_files: [{ architectures: [0], file: '' }] }],
  ['a long boot file', { boot_files: [{ architectures: [0], file: 'a'.repeat(256) }] }],
  ['65 boot files', { boot_files: Array(65).fill({ architectures: [0], file: 'a' }) }],
  ['architecture 65536', { boot_files: [{ architectures: [65_536], file: 'a' }] }],
  ['9 thresholds', { utilisation_thresholds: [1, 2, 3, 4, 5, 6, 7, 8, 9] }],
])('a request cannot state %s', (_, rules) => {
  expect(Compile(PolicyRulesRequest).Check(rules)).toBe(false)
})

test('answers do not show the secret, wherever rules are shown', () => {
  const rules: StoredRules = {
    strategy: 'random',
    ipv6_generator: { kind: 'stable_private', secret: 'between the two of us' },
  }
  const policy: StoredPolicy = {
    ...{ id: here, project_id: null, name: 'edge', description: '', tags: [], rules },
    ...{ generation: 1, created_at: '', updated_at: '' },
  }
  const shown = [showPolicy(policy), showRules(edge('itself', rules))]
  expect(JSON.stringify(shown)).not.toContain('between')
  expect(shown).toMatchObject([
    { name: 'edge', rules: { strategy: 'random', ipv6_generator: { kind: 'stable_private' } } },
    {
      strategy: { value: 'random' },
      ipv6_generator: { value: { kind: 'stable_private' }, source: { policy_name: 'edge' } },
    },
  ])
})
