import { type Static, type TObject, type TProperties, type TSchema, Type } from 'typebox'
import {
  Count,
  closed,
  Description,
  Generation,
  Id,
  Name,
  Nullable,
  oneOf,
  PageQuery,
  ProjectId,
  ref,
  Tags,
  TagsQuery,
  Time,
} from '../../schema.ts'
import { Strategy } from '../blocks/schema.ts'

/** How many offsets, and how many addresses, one part of a policy may list. */
export const offsetsMax = 64
export const addressesMax = 1024
export const purposesMax = 64
/** How many offsets and addresses all purposes of a policy may list together. */
export const purposeRangesMax = 1024

const { MAX_SAFE_INTEGER: safeMax } = Number
const tenYears = 10 * 31_536_000

/** A number of addresses, as a request may write it: a number where JSON can hold it. */
const CountRequest = Type.Union([
  Type.Integer({ minimum: 0, maximum: safeMax }),
  Type.String({ pattern: '^(0|[1-9][0-9]{0,38})$' }),
])
const offsetDescription =
  'The place of an address in the block that gives it out: 0 is its first, -1 its last address.'
const Offset = Type.String({
  pattern: '^-?[0-9]+$',
  description: offsetDescription,
  examples: ['-1'],
})
const OffsetRequest = Type.Union(
  [
    Type.Integer({ minimum: -safeMax, maximum: safeMax }),
    Type.String({ pattern: '^(0|-?[1-9][0-9]{0,38})$' }),
  ],
  { description: offsetDescription },
)
const AddressOrCidr = Type.String({
  minLength: 1,
  maxLength: 49,
  examples: ['192.0.2.10', '192.0.2.128/28'],
})

/** What names addresses of a block; `O` and `N` are how offsets and counts are written. */
const rangeWords = <O extends TSchema, N extends TSchema>(offset: O, count: N) => ({
  offsets: Type.Optional(
    Type.Array(closed({ from: offset, to: offset }), { maxItems: offsetsMax }),
  ),
  first: Type.Optional(count),
  last: Type.Optional(count),
  addresses: Type.Optional(Type.Array(AddressOrCidr, { maxItems: addressesMax })),
})

export const Purpose = Type.String({
  pattern: '^[a-z0-9_.-]{1,64}$',
  description: 'What an address is for. The addresses of a purpose are only for requests with it.',
  examples: ['load-balancer'],
})

const LastOctets = Type.Array(Type.Integer({ minimum: 0, maximum: 255 }), {
  maxItems: 255,
  description: 'The last byte of the address, in IPv4 and IPv6.',
})

const prefixLengths = (bits: number) =>
  closed({
    min: Type.Optional(Type.Integer({ minimum: 0, maximum: bits })),
    max: Type.Optional(Type.Integer({ minimum: 0, maximum: bits })),
  })

const GeneratorKind = oneOf(['sequential', 'random', 'eui64', 'stable_private', 'tenant'], {
  description:
    'How an IPv6 address is made: the next or any free one, of the MAC (RFC 4291), stable and opaque (RFC 7217), or of project and MAC as in the original Melange.',
})

/** The secret of `stable_private` addresses, which no answer holds. */
const Secret = Type.Optional(
  Type.String({
    minLength: 16,
    maxLength: 255,
    description: 'Of `stable_private`; made by the server if it is left out. Never shown.',
  }),
)

const UnknownClients = Nullable(
  closed({
    lease_seconds: Type.Integer({ minimum: 60, maximum: 31_536_000 }),
    purpose: Type.Optional(Purpose),
    project_id: Type.Optional(
      Type.Unsafe<string>({
        ...ProjectId,
        description:
          'Whose the addresses are: of a policy of a project that one. Else they are of the project of the network, or of the block if that has none.',
      }),
    ),
  }),
  {
    description:
      'What DHCP clients get that nobody told of: an address for the time of a lease. Null: none, whatever policies further away say.',
  },
)

const BootFiles = Type.Array(
  closed({
    architectures: Type.Array(Type.Integer({ minimum: 0, maximum: 65_535 }), {
      minItems: 1,
      maxItems: 64,
      description: 'Of clients, as they say it in option 93 (RFC 4578 §2.1).',
    }),
    server: Type.Optional(
      Nullable(
        Type.String({ minLength: 1, maxLength: 255, description: 'An address or a domain name.' }),
      ),
    ),
    file: Type.String({
      pattern: '^[!-~]{1,255}$',
      description: 'A path on that server, or a URL.',
    }),
  }),
  {
    maxItems: 64,
    description: 'What machines boot from: the first that fits a client is its.',
  },
)

/** Every rule, none of them optional; what differs between a request and an answer is given. */
const ruleProperties = <O extends TSchema, N extends TSchema, G extends TProperties>(
  offset: O,
  count: N,
  generator: G,
) => ({
  exclusions: closed({ ...rangeWords(offset, count), last_octets: Type.Optional(LastOctets) }),
  strategy: Strategy,
  quarantine_seconds: Type.Integer({ minimum: 0, maximum: tenYears }),
  quarantine_reuse: oneOf(['never', 'when_full'], {
    description: 'Whether others may get a quarantined address when nothing else is free.',
  }),
  ipv6_generator: closed({ kind: GeneratorKind, ...generator }),
  purposes: Type.Array(closed({ purpose: Purpose, ...rangeWords(offset, count) }), {
    maxItems: purposesMax,
  }),
  child_prefix_lengths: closed({
    ipv4: Type.Optional(prefixLengths(32)),
    ipv6: Type.Optional(prefixLengths(128)),
  }),
  subnet_selection: oneOf(['fill_first', 'spread'], {
    description: 'Which block of a network gives the next address.',
  }),
  utilisation_thresholds: Type.Array(Type.Integer({ minimum: 1, maximum: 100 }), {
    maxItems: 8,
    description: 'Percentages.',
  }),
  unknown_clients: UnknownClients,
  boot_files: BootFiles,
})

/** An object of the same members, all of which may be left out. */
const partial = <P extends TProperties>(properties: P, options: { $id?: string } = {}) =>
  closed(Type.Partial(closed(properties)).properties, options)

const shownRules = ruleProperties(Offset, Count, {})
const storedRules = ruleProperties(Offset, Count, { secret: Secret })

/** The rules of a policy as answers show them. A rule that is left out is inherited. */
export const PolicyRules = partial(shownRules, { $id: 'PolicyRules' })
export type PolicyRules = Static<typeof PolicyRules>

export const PolicyRulesRequest = partial(
  ruleProperties(OffsetRequest, CountRequest, { secret: Secret }),
  { $id: 'PolicyRulesRequest' },
)
export type PolicyRulesRequest = Static<typeof PolicyRulesRequest>

/** The rules of a policy as they are stored: canonical, and with the secret. */
export const StoredRules = partial(storedRules)
export type StoredRules = Static<typeof StoredRules>

export type RangeWords = Omit<NonNullable<StoredRules['purposes']>[number], 'purpose'>
export type RangeWordsRequest = Omit<NonNullable<PolicyRulesRequest['purposes']>[number], 'purpose'>

const PolicyName = Type.String({ minLength: 1, maxLength: 255 })

export const Policy = closed(
  {
    id: Id,
    project_id: Nullable(ProjectId),
    name: PolicyName,
    description: Description,
    tags: Tags,
    rules: ref(PolicyRules),
    generation: Generation,
    created_at: Time,
    updated_at: Time,
  },
  { $id: 'Policy' },
)
export type Policy = Static<typeof Policy>

/** A policy as it is stored. `showPolicy` makes an answer of it. */
export const StoredPolicy = closed({ ...Policy.properties, rules: StoredRules })
export type StoredPolicy = Static<typeof StoredPolicy>

const changeable = {
  name: PolicyName,
  description: Description,
  tags: Tags,
  rules: ref(PolicyRulesRequest),
}

/** Without a project it is for all projects. */
export const PolicyRequest = closed(
  {
    project_id: Type.Optional(ProjectId),
    ...Type.Partial(closed(changeable)).properties,
    name: PolicyName,
  },
  { $id: 'PolicyRequest' },
)
export type PolicyRequest = Static<typeof PolicyRequest>

/** Rules are replaced as a whole. */
export const PolicyPatch = partial(changeable, { $id: 'PolicyPatch' })
export type PolicyPatch = Static<typeof PolicyPatch>

export const policySorts = ['id', 'name', 'created_at'] as const

export const PolicyQuery = closed({
  project_id: Type.Optional(ProjectId),
  name: Type.Optional(Name),
  tag: TagsQuery,
  sort: oneOf(policySorts, { default: 'id' }),
  ...PageQuery,
})
export type PolicyQuery = Static<typeof PolicyQuery>

/** What a rule comes from: a policy, and the thing it is attached to. */
export const RuleSource = closed(
  {
    policy_id: Id,
    policy_name: PolicyName,
    attached_to: closed({
      type: oneOf(['block', 'network', 'address_scope']),
      id: Type.String(),
      name: Type.String({ description: 'The CIDR of a block, else the name.' }),
    }),
  },
  { $id: 'RuleSource' },
)
export type RuleSource = Static<typeof RuleSource>

const source = ref(RuleSource)
type Effective<P extends TProperties> = {
  [K in keyof P]: TObject<{ value: P[K]; source: typeof source }>
}
const effective = <P extends TProperties>(properties: P) =>
  Object.fromEntries(
    Object.entries(properties).map(([rule, value]) => [rule, closed({ value, source })]),
  ) as unknown as Effective<P>

/** The rules that apply, each with its source. A rule that no policy states is left out. */
export const EffectiveRules = partial(effective(shownRules), { $id: 'EffectiveRules' })
export type EffectiveRules = Static<typeof EffectiveRules>
