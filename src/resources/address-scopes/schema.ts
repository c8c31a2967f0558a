import { type Static, Type } from 'typebox'
import { publicScopeId } from '../../ids.ts'
import {
  closed,
  Description,
  Generation,
  Id,
  Name,
  Nullable,
  PageQuery,
  ProjectId,
  Tags,
  TagsQuery,
  Time,
} from '../../schema.ts'

export { publicScopeId }

const settings = {
  name: Name,
  description: Description,
  tags: Tags,
  policy_id: Nullable(Id, { description: 'Rules for all blocks of the scope.' }),
}

export const AddressScope = closed(
  {
    id: Id,
    project_id: Nullable(ProjectId),
    ...settings,
    generation: Generation,
    created_at: Time,
    updated_at: Time,
  },
  { $id: 'AddressScope' },
)
export type AddressScope = Static<typeof AddressScope>

export const AddressScopeRequest = closed(
  {
    project_id: ProjectId,
    name: Type.String({ minLength: 1, maxLength: 255 }),
    description: Type.Optional(Description),
    tags: Type.Optional(Tags),
    policy_id: Type.Optional(Nullable(Id)),
  },
  { $id: 'AddressScopeRequest' },
)
export type AddressScopeRequest = Static<typeof AddressScopeRequest>

export const AddressScopePatch = closed(Type.Partial(closed(settings)).properties, {
  $id: 'AddressScopePatch',
})
export type AddressScopePatch = Static<typeof AddressScopePatch>

export const AddressScopeQuery = closed({
  project_id: Type.Optional(ProjectId),
  name: Type.Optional(Name),
  tag: TagsQuery,
  ...PageQuery,
})
