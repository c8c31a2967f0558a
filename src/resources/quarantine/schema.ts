import { type Static, Type } from 'typebox'
import { closed, Id, Nullable, PageQuery, ProjectId, ScopeId, Time } from '../../schema.ts'
import { Allocation, countMax, OwnerId, OwnerType } from '../allocations/schema.ts'

/** An address, or a delegated prefix, that waits for the one who had it last. */
export const QuarantinedAddress = closed(
  {
    allocation_id: Type.String({
      format: 'uuid',
      description: 'The allocation that ended; it can be restored.',
    }),
    address: Allocation.properties.address,
    scope_id: Id,
    block_id: Id,
    project_id: ProjectId,
    owner_type: Nullable(OwnerType),
    owner_id: Nullable(OwnerId),
    ended_at: Time,
    quarantined_until: Time,
  },
  { $id: 'QuarantinedAddress' },
)
export type QuarantinedAddress = Static<typeof QuarantinedAddress>

export const QuarantineQuery = closed({
  scope_id: Type.Optional(ScopeId),
  block_id: Type.Optional(Id),
  address: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 49,
      description: 'This address, by itself or in a delegated prefix.',
    }),
  ),
  project_id: Type.Optional(ProjectId),
  owner_type: Type.Optional(OwnerType),
  owner_id: Type.Optional(OwnerId),
  ...PageQuery,
})
export type QuarantineQuery = Static<typeof QuarantineQuery>

export const QuarantineEnd = closed(
  {
    block_id: Type.Optional(Id),
    allocation_ids: Type.Optional(Type.Array(Id, { minItems: 1, maxItems: countMax })),
  },
  { $id: 'QuarantineEnd' },
)
export type QuarantineEnd = Static<typeof QuarantineEnd>
