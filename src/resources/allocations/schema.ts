import { type Static, Type } from 'typebox'
import {
  closed,
  DryRun,
  Generation,
  Id,
  Name,
  Nullable,
  oneOf,
  PageQuery,
  Problem,
  ProjectId,
  ref,
  ScopeId,
  Tags,
  TagsQuery,
  Time,
} from '../../schema.ts'

/** How many addresses one call may take or release. */
export const countMax = 4096

export const OwnerType = Type.String({ minLength: 1, maxLength: 255, examples: ['instance'] })
export const OwnerId = Type.String({ minLength: 1, maxLength: 255 })
const AllocatedAddress = Type.String({
  minLength: 1,
  maxLength: 49,
  description: 'An address, or a delegated prefix as address/length.',
  examples: ['192.0.2.10', '2001:db8:0:100::/56'],
})

export const Allocation = closed(
  {
    id: Id,
    scope_id: Id,
    block_id: Id,
    address: AllocatedAddress,
    project_id: ProjectId,
    owner_type: Nullable(OwnerType),
    owner_id: Nullable(OwnerId),
    name: Name,
    tags: Tags,
    generation: Generation,
    started_at: Time,
    expires_at: Nullable(Time, {
      description: 'Of a hold: when it lapses unless it is renewed or confirmed.',
    }),
    ended_at: Nullable(Time),
    quarantined_until: Nullable(Time, {
      description:
        'Until when the address was to wait, from its end on, for its owner, who can `restore` it.',
    }),
  },
  { $id: 'Allocation' },
)
export type Allocation = Static<typeof Allocation>

export const Lifetime = Type.Integer({
  minimum: 1,
  maximum: 31_536_000,
  description: 'Seconds until it lapses, unless it is renewed or confirmed.',
})

export const AllocationRequest = closed(
  {
    block_id: Type.Optional(Id),
    network_id: Type.Optional(Id),
    families: Type.Optional(
      Type.Array(Type.Union([Type.Literal(4), Type.Literal(6)]), {
        minItems: 1,
        maxItems: 2,
        uniqueItems: true,
        description: 'Of a network: an address of each of these IP versions, or none at all.',
      }),
    ),
    partial: Type.Optional(
      Type.Boolean({ description: 'Take fewer `families` if some cannot be had.' }),
    ),
    subnet_tags: Type.Optional(Tags),
    purpose: Type.Optional(
      Type.String({
        pattern: '^[a-z0-9_.-]{1,64}$',
        description: 'What it is for: policies may keep ranges for a purpose.',
        examples: ['load-balancer'],
      }),
    ),
    address: Type.Optional(AllocatedAddress),
    fallback: Type.Optional(
      oneOf(['next'], { description: 'If the address is not free, take the next one.' }),
    ),
    count: Type.Optional(Type.Integer({ minimum: 1, maximum: countMax })),
    contiguous: Type.Optional(
      Type.Boolean({
        description: 'The `count` first addresses of the smallest free prefix that holds them.',
      }),
    ),
    prefix_length: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 128,
        description: 'One free prefix of this length, delegated as a whole.',
      }),
    ),
    mac_address: Type.Optional(
      Type.String({
        minLength: 12,
        maxLength: 17,
        description: 'What a policy may generate an IPv6 address from.',
        examples: ['52:54:00:12:34:56'],
      }),
    ),
    interface_id: Type.Optional(Type.String({ minLength: 1, maxLength: 255 })),
    lifetime_seconds: Type.Optional(Lifetime),
    one_per_owner: Type.Optional(
      Type.Boolean({
        description: 'What the owner has there already is the answer: one per owner and block.',
      }),
    ),
    project_id: ProjectId,
    owner_type: Type.Optional(OwnerType),
    owner_id: Type.Optional(OwnerId),
    name: Type.Optional(Name),
    tags: Type.Optional(Tags),
    dry_run: DryRun,
  },
  { $id: 'AllocationRequest' },
)
export type AllocationRequest = Static<typeof AllocationRequest>

const OnError = oneOf(['abort', 'continue'], {
  default: 'abort',
  description: 'If an item is refused: undo all of it, or go on with the others.',
})

/** How many requests one call may hold. */
export const itemsMax = 1000

const { dry_run: _, ...itemProperties } = AllocationRequest.properties
export const BulkRequest = closed(
  {
    on_error: OnError,
    items: Type.Array(closed(itemProperties), { minItems: 1, maxItems: itemsMax }),
    dry_run: DryRun,
  },
  { $id: 'BulkRequest' },
)
export type BulkRequest = Static<typeof BulkRequest>

/** What became of one item of many: what it got, or why not. */
export const BulkOutcome = closed(
  {
    status: Type.Integer({ description: 'The HTTP status that the item alone would have had.' }),
    allocations: Type.Optional(Type.Array(ref(Allocation))),
    problem: Type.Optional(ref(Problem)),
  },
  { $id: 'BulkOutcome' },
)
export type BulkOutcome = Static<typeof BulkOutcome>

export const ReleaseRequest = closed(
  {
    allocations: Type.Optional(
      Type.Array(closed({ id: Id, generation: Type.Optional(Generation) }), {
        minItems: 1,
        maxItems: countMax,
      }),
    ),
    project_id: Type.Optional(ProjectId),
    owner_type: Type.Optional(OwnerType),
    owner_id: Type.Optional(OwnerId),
    block_id: Type.Optional(Id),
    on_error: Type.Optional(OnError),
  },
  { $id: 'ReleaseRequest' },
)
export type ReleaseRequest = Static<typeof ReleaseRequest>

export const AllocationPatch = closed(
  {
    name: Type.Optional(Name),
    tags: Type.Optional(Tags),
    generation: Type.Optional(Generation),
  },
  { $id: 'AllocationPatch' },
)
export type AllocationPatch = Static<typeof AllocationPatch>

const TimeQuery = Type.Optional(
  Type.String({ minLength: 1, maxLength: 40, description: 'RFC 3339.' }),
)

export const AllocationQuery = closed({
  scope_id: Type.Optional(ScopeId),
  block_id: Type.Optional(Id),
  address: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 49,
      description:
        'Holds this address, by itself or in a delegated prefix; in `scope_id`, or in any scope.',
    }),
  ),
  within: Type.Optional(
    Type.String({ minLength: 1, maxLength: 49, description: 'Lies inside this CIDR.' }),
  ),
  project_id: Type.Optional(ProjectId),
  owner_type: Type.Optional(OwnerType),
  owner_id: Type.Optional(OwnerId),
  name: Type.Optional(Name),
  tag: TagsQuery,
  state: oneOf(['current', 'held', 'ended', 'all'], {
    default: 'current',
    description: '`current` ones include holds; `held` are those not confirmed.',
  }),
  at: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 40,
      description: 'Held at this time (RFC 3339), whatever its state.',
    }),
  ),
  held_from: TimeQuery,
  held_to: TimeQuery,
  sort: oneOf(['id', 'address'], {
    default: 'id',
    description: '`id` is the order of allocation; `address` goes with scope_id or block_id.',
  }),
  ...PageQuery,
})
export type AllocationQuery = Static<typeof AllocationQuery>
