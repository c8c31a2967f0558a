import { type Static, Type } from 'typebox'
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
  Tags,
  TagsQuery,
  Time,
} from '../../schema.ts'

const settings = {
  name: Name,
  description: Description,
  tags: Tags,
  policy_id: Nullable(Id),
  mtu: Nullable(Type.Integer({ minimum: 68, maximum: 65_535 }), {
    description: 'The largest packet, in bytes: 1280 or more with IPv6. Null if nobody has said.',
  }),
}
const optionalSettings = Type.Partial(closed(settings)).properties

export const Network = closed(
  {
    id: Id,
    project_id: Nullable(ProjectId),
    ...settings,
    generation: Generation,
    created_at: Time,
    updated_at: Time,
  },
  { $id: 'Network' },
)
export type Network = Static<typeof Network>

export const NetworkRequest = closed(
  {
    id: Type.Optional(
      Type.String({
        format: 'uuid',
        description: 'The id that the network has elsewhere, for instance in Neutron.',
      }),
    ),
    project_id: Type.Optional(
      Type.Union([ProjectId, Type.Null()], {
        description: 'Without one, all projects share the network.',
      }),
    ),
    ...optionalSettings,
  },
  { $id: 'NetworkRequest' },
)
export type NetworkRequest = Static<typeof NetworkRequest>

export const NetworkPatch = closed(optionalSettings, { $id: 'NetworkPatch' })
export type NetworkPatch = Static<typeof NetworkPatch>

export const networkSorts = ['id', 'name'] as const

export const NetworkQuery = closed({
  project_id: Type.Optional(ProjectId),
  name: Type.Optional(Name),
  tag: TagsQuery,
  policy_id: Type.Optional(Id),
  sort: oneOf(networkSorts, { default: 'id' }),
  ...PageQuery,
})
export type NetworkQuery = Static<typeof NetworkQuery>

/** What the subnets of one IP version come to; they have no children. */
export const SubnetCounts = closed({
  subnets: Type.Integer({ minimum: 1 }),
  total: Count,
  allocated: Count,
  held: Count,
  quarantined: Count,
  excluded: Count,
  free: Count,
})
export type SubnetCounts = Static<typeof SubnetCounts>

export const NetworkUtilisation = closed(
  { ipv4: Nullable(SubnetCounts), ipv6: Nullable(SubnetCounts) },
  { $id: 'NetworkUtilisation' },
)
export type NetworkUtilisation = Static<typeof NetworkUtilisation>
