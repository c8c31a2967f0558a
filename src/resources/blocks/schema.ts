import { type Static, Type } from 'typebox'
import {
  AddressText,
  CidrText,
  Count,
  closed,
  Description,
  DryRun,
  Generation,
  Id,
  Name,
  Nullable,
  oneOf,
  PageQuery,
  ProjectId,
  ScopeId,
  Tags,
  TagsQuery,
  Time,
} from '../../schema.ts'

export const Strategy = oneOf(['sequential', 'random', 'least_recently_used'], {
  description:
    'Which free address comes next: the lowest, any, or the one that has been free for longest.',
})

const settings = {
  name: Name,
  description: Description,
  tags: Tags,
  gateway_ip: Nullable(AddressText),
  dns_nameservers: Type.Array(AddressText, { maxItems: 16, uniqueItems: true }),
  allocate_network_address: Type.Boolean({
    description: 'Whether the network address may be given out. The original Melange did.',
  }),
  strategy: Nullable(Strategy, {
    description: 'Of this block alone; null for what its policies say, else `sequential`.',
  }),
  policy_id: Nullable(Id, { description: 'Rules for this block and all below it.' }),
  priority: Type.Integer({
    minimum: -1_000_000,
    maximum: 1_000_000,
    description: 'Among the subnets of a network the lowest is tried first.',
  }),
}

export const Block = closed(
  {
    id: Id,
    scope_id: Id,
    parent_id: Nullable(Id),
    cidr: CidrText,
    version: Type.Union([Type.Literal(4), Type.Literal(6)]),
    network_id: Nullable(Id),
    project_id: Nullable(ProjectId),
    ...settings,
    generation: Generation,
    created_at: Time,
    updated_at: Time,
  },
  { $id: 'Block' },
)
export type Block = Static<typeof Block>

const optionalSettings = Type.Partial(closed(settings)).properties

export const BlockRequest = closed(
  {
    scope_id: Type.Optional(ScopeId),
    parent_id: Type.Optional(Id),
    cidr: CidrText,
    adopt_children: Type.Boolean({
      default: false,
      description: 'Put the block above the blocks that lie inside it.',
    }),
    network_id: Type.Optional(Id),
    project_id: Type.Optional(ProjectId),
    ...optionalSettings,
    dry_run: DryRun,
  },
  { $id: 'BlockRequest' },
)
export type BlockRequest = Static<typeof BlockRequest>

export const childrenMax = 256

const { gateway_ip: _, ...childSettings } = optionalSettings
export const ChildrenRequest = closed(
  {
    cidrs: Type.Optional(
      Type.Array(CidrText, { minItems: 1, maxItems: childrenMax, uniqueItems: true }),
    ),
    prefix_length: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 128,
        description: 'Cut the next free prefix of this length, by best fit.',
      }),
    ),
    count: Type.Optional(Type.Integer({ minimum: 1, maximum: childrenMax })),
    network_id: Type.Optional(Id),
    project_id: Type.Optional(ProjectId),
    ...childSettings,
    dry_run: DryRun,
  },
  { $id: 'ChildrenRequest' },
)
export type ChildrenRequest = Static<typeof ChildrenRequest>

export const BlockPatch = closed(
  {
    cidr: Type.Optional(CidrText),
    ...optionalSettings,
  },
  { $id: 'BlockPatch' },
)
export type BlockPatch = Static<typeof BlockPatch>

export const blockSorts = ['id', 'cidr', 'name', 'created_at'] as const

export const BlockQuery = closed({
  scope_id: Type.Optional(ScopeId),
  parent_id: Type.Optional(
    Type.String({
      pattern: '^(none|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$',
      description: 'Children of this block; `none` for top-level blocks.',
    }),
  ),
  network_id: Type.Optional(Id),
  project_id: Type.Optional(ProjectId),
  name: Type.Optional(Name),
  tag: TagsQuery,
  version: Type.Optional(Type.Union([Type.Literal(4), Type.Literal(6)])),
  cidr: Type.Optional(CidrText),
  contains: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 49,
      description: 'Blocks that hold this address or CIDR.',
    }),
  ),
  within: Type.Optional(
    Type.String({ minLength: 1, maxLength: 49, description: 'Blocks that lie inside this CIDR.' }),
  ),
  overlaps: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 49,
      description: 'Blocks that share addresses with this CIDR.',
    }),
  ),
  sort: oneOf(blockSorts, { default: 'id' }),
  ...PageQuery,
})
export type BlockQuery = Static<typeof BlockQuery>

export const Utilisation = closed(
  {
    total: Count,
    allocated: Count,
    held: Count,
    quarantined: Count,
    excluded: Count,
    free: Count,
    in_children: Type.String({
      pattern: '^[0-9]+$',
      description:
        'Addresses given to child blocks. The other counts are sums over the block and all below it.',
    }),
  },
  { $id: 'Utilisation' },
)
export type Utilisation = Static<typeof Utilisation>

export const FreeRange = closed(
  {
    first: AddressText,
    last: AddressText,
    size: Count,
    purpose: Nullable(Type.String(), { description: 'What alone it is given out for.' }),
  },
  { $id: 'FreeRange' },
)
