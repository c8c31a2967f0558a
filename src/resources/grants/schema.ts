import { type Static, Type } from 'typebox'
import {
  Count,
  closed,
  Description,
  Generation,
  Id,
  Nullable,
  PageQuery,
  ProjectId,
  Tags,
  TagsQuery,
  Time,
} from '../../schema.ts'

const settings = {
  allocations_max: Nullable(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }), {
    description:
      'How much each project may hold there at a time: an address counts one, an IPv4 prefix its addresses, an IPv6 prefix its /64s and one at least. Null is no limit.',
  }),
  description: Description,
  tags: Tags,
}
const optionalSettings = Type.Partial(closed(settings)).properties
const Grantee = Type.Union([ProjectId, Type.Null()], {
  description: 'Who may take addresses there; null is every project.',
})

export const Grant = closed(
  {
    id: Id,
    block_id: Nullable(Id),
    network_id: Nullable(Id),
    owner_project_id: Nullable(ProjectId, {
      description: 'The project that the block or network is of.',
    }),
    project_id: Grantee,
    ...settings,
    generation: Generation,
    created_at: Time,
    updated_at: Time,
  },
  { $id: 'Grant' },
)
export type Grant = Static<typeof Grant>

/** Not called a request: its `project_id` is not the one for which a thing is made. */
export const NewGrant = closed(
  {
    block_id: Type.Optional(Id),
    network_id: Type.Optional(Id),
    project_id: Grantee,
    ...optionalSettings,
  },
  { $id: 'NewGrant' },
)
export type NewGrant = Static<typeof NewGrant>

export const GrantPatch = closed(optionalSettings, { $id: 'GrantPatch' })
export type GrantPatch = Static<typeof GrantPatch>

export const GrantQuery = closed({
  block_id: Type.Optional(Id),
  network_id: Type.Optional(Id),
  project_id: Type.Optional(
    Type.Unsafe<string>({
      ...ProjectId,
      description: 'What is granted to this project, by itself or with all others.',
    }),
  ),
  tag: TagsQuery,
  ...PageQuery,
})
export type GrantQuery = Static<typeof GrantQuery>

export const GrantUsage = closed({ project_id: ProjectId, held: Count }, { $id: 'GrantUsage' })
export type GrantUsage = Static<typeof GrantUsage>

export const GrantUsageQuery = closed(PageQuery)
