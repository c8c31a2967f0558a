import { type Static, Type } from 'typebox'
import {
  closed,
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

/** How many addresses one call may take or release. */
export const countMax = 4096

const OwnerType = Type.String({ minLength: 1, maxLength: 255, examples: ['instance'] })
const OwnerId = Type.String({ minLength: 1, maxLength: 255 })
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
    ended_at: Nullable(Time),
  },
  { $id: 'Allocation' },
)
export type Allocation = Static<typeof Allocation>

export const AllocationRequest = closed(
  {
    block_id: Id,
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
    project_id: ProjectId,
    owner_type: Type.Optional(OwnerType),
    owner_id: Type.Optional(OwnerId),
    name: Type.Optional(Name),
    tags: Type.Optional(Tags),
  },
  { $id: 'AllocationRequest' },
)
export type AllocationRequest = Static<typeof AllocationRequest>

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
  state: oneOf(['current', 'ended', 'all'], { default: 'current' }),
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
