import { type Static, Type } from 'typebox'
import {
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

/** A MAC in any of its usual spellings; answers use `52:54:00:12:34:56`. */
export const MacText = Type.String({
  minLength: 12,
  maxLength: 17,
  examples: ['52:54:00:12:34:56'],
})
const PrefixText = Type.String({
  minLength: 12,
  maxLength: 20,
  examples: ['52:54:00:00:00:00/24'],
})

const settings = {
  name: Name,
  description: Description,
  tags: Tags,
  strategy: oneOf(['sequential', 'random', 'least_recently_used'], {
    description: 'Which free MAC comes next.',
  }),
  reuse_after_seconds: Type.Integer({
    minimum: 0,
    maximum: 315_360_000,
    description: 'How long a released MAC waits: until then only who had it last gets it.',
  }),
  forbidden: Type.Array(PrefixText, {
    maxItems: 256,
    description: 'MACs and ranges inside the range that are never given out.',
  }),
}
const optionalSettings = Type.Partial(closed(settings)).properties
const Uniqueness = oneOf(['range', 'network'], {
  description: 'Whether a MAC is given once in all, or once on each network.',
})

export const MacRange = closed(
  {
    id: Id,
    project_id: Nullable(ProjectId),
    prefix: PrefixText,
    ...settings,
    uniqueness: Uniqueness,
    generation: Generation,
    created_at: Time,
    updated_at: Time,
  },
  { $id: 'MacRange' },
)
export type MacRange = Static<typeof MacRange>

export const MacRangeRequest = closed(
  {
    project_id: Type.Optional(
      Nullable(ProjectId, { description: 'Without one, the range serves all projects.' }),
    ),
    prefix: Type.Unsafe<string>({
      ...PrefixText,
      description: 'The lowest MAC and how many of its 48 bits are fixed: from 8 to 48.',
    }),
    ...optionalSettings,
    uniqueness: Type.Optional(Uniqueness),
  },
  { $id: 'MacRangeRequest' },
)
export type MacRangeRequest = Static<typeof MacRangeRequest>

export const MacRangePatch = closed(optionalSettings, { $id: 'MacRangePatch' })
export type MacRangePatch = Static<typeof MacRangePatch>

export const MacRangeQuery = closed({
  project_id: Type.Optional(ProjectId),
  name: Type.Optional(Name),
  tag: TagsQuery,
  contains: Type.Optional(
    Type.Unsafe<string>({ ...MacText, description: 'The range in which this MAC lies.' }),
  ),
  ...PageQuery,
})
export type MacRangeQuery = Static<typeof MacRangeQuery>

const Amount = Type.Integer({ minimum: 0 })
/** A range has at most 2^40 MACs. With uniqueness `network` each network has as many. */
export const MacRangeUtilisation = closed(
  { total: Amount, forbidden: Amount, held: Amount, waiting: Amount, free: Nullable(Amount) },
  { $id: 'MacRangeUtilisation' },
)
export type MacRangeUtilisation = Static<typeof MacRangeUtilisation>

export const Mac = closed(
  {
    id: Id,
    address: MacText,
    range_id: Nullable(Id, { description: 'Null: a MAC of its own, of no range.' }),
    network_id: Nullable(Id),
    interface_id: Nullable(Id),
    project_id: ProjectId,
    owner_type: Nullable(Type.String()),
    owner_id: Nullable(Type.String()),
    started_at: Time,
    ended_at: Nullable(Time),
    reusable_at: Nullable(Time, {
      description: 'After its end: until when nobody else gets the MAC.',
    }),
  },
  { $id: 'Mac' },
)
export type Mac = Static<typeof Mac>

const OwnerText = Type.String({ minLength: 1, maxLength: 255 })
export const MacRequest = closed(
  {
    address: Type.Optional(
      Type.Unsafe<string>({ ...MacText, description: 'This MAC, of a range or not.' }),
    ),
    range_id: Type.Optional(Id),
    network_id: Type.Optional(Id),
    project_id: ProjectId,
    owner_type: Type.Optional(OwnerText),
    owner_id: Type.Optional(OwnerText),
  },
  { $id: 'MacRequest' },
)
export type MacRequest = Static<typeof MacRequest>

export const MacQuery = closed({
  address: Type.Optional(MacText),
  range_id: Type.Optional(Id),
  network_id: Type.Optional(Id),
  interface_id: Type.Optional(Id),
  project_id: Type.Optional(ProjectId),
  owner_id: Type.Optional(OwnerText),
  state: oneOf(['current', 'ended', 'all'], { default: 'current' }),
  at: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 40,
      description: 'Held at this time (RFC 3339), whatever its state.',
    }),
  ),
  ...PageQuery,
})
export type MacQuery = Static<typeof MacQuery>
