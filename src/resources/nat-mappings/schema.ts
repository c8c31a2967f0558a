import { type Static, Type } from 'typebox'
import {
  AddressText,
  closed,
  Id,
  Nullable,
  oneOf,
  PageQuery,
  ProjectId,
  Time,
} from '../../schema.ts'
import { Allocation } from '../allocations/schema.ts'

const { address } = Allocation.properties
const pair = { inside_local_id: Id, inside_global_id: Id }

/** That an inside-global address stands for an inside-local one; both are allocations. */
export const NatMapping = closed(
  {
    id: Id,
    project_id: Type.String({ ...ProjectId, description: 'Of the local allocation.' }),
    inside_local_id: Id,
    inside_local_address: address,
    inside_global_id: Id,
    inside_global_address: address,
    started_at: Time,
    ended_at: Nullable(Time),
  },
  { $id: 'NatMapping' },
)
export type NatMapping = Static<typeof NatMapping>

export const NatMappingRequest = closed(pair, { $id: 'NatMappingRequest' })
export type NatMappingRequest = Static<typeof NatMappingRequest>

export const NatMappingQuery = closed({
  project_id: Type.Optional(ProjectId),
  inside_local_id: Type.Optional(Id),
  inside_global_id: Type.Optional(Id),
  inside_local_address: Type.Optional(AddressText),
  inside_global_address: Type.Optional(AddressText),
  state: oneOf(['current', 'ended', 'all'], { default: 'current' }),
  ...PageQuery,
})
export type NatMappingQuery = Static<typeof NatMappingQuery>
