import { type Static, type TSchema, Type } from 'typebox'
import {
  Count,
  closed,
  Generation,
  Id,
  Nullable,
  oneOf,
  PageQuery,
  ProjectId,
  pageOf,
  ref,
  ScopeId,
  Time,
} from '../../schema.ts'

/** What requests say in the place of a project to mean every project without a limit of its own. */
export const defaultProject = 'default'

const scope = (description: string) =>
  Type.Optional(Type.Unsafe<string>({ ...ScopeId, description }))

const Limit = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
/** A prefix of a few bits has more /64s than 2^53. */
const LongLimit = Type.String({ pattern: '^(0|[1-9][0-9]{0,19})$', examples: ['256'] })

/** Limits as they are kept. */
export const Quota = closed(
  {
    id: Id,
    project_id: Type.Union([ProjectId, Type.Null()], {
      description: 'Null: every project that has no limit of its own.',
    }),
    scope_id: Type.Union([Id, Type.Null()], {
      description: 'Null: in all address scopes together.',
    }),
    allocations: Nullable(Limit),
    ipv6_64s: Nullable(LongLimit),
    blocks: Nullable(Limit),
    floating_ips: Nullable(Limit),
    interfaces: Nullable(Limit),
    generation: Generation,
    created_at: Time,
    updated_at: Time,
  },
  { $id: 'Quota' },
)
export type Quota = Static<typeof Quota>

const removes = 'Null removes the limit.'

export const QuotaRequest = closed(
  {
    scope_id: scope(
      'Limit what is in this address scope (an id, or `public`) instead of what is in all.',
    ),
    allocations: Type.Optional(
      Type.Union([Limit, Type.Null()], {
        description: `Addresses and delegated prefixes at a time, each of them one. ${removes}`,
      }),
    ),
    ipv6_64s: Type.Optional(
      Type.Union([Limit, LongLimit, Type.Null()], {
        description: `The /64s in delegated IPv6 prefixes: a /56 is 256, a /80 none. ${removes}`,
      }),
    ),
    blocks: Type.Optional(
      Type.Union([Limit, Type.Null()], {
        description: `Blocks of the project, each child being one. ${removes}`,
      }),
    ),
    floating_ips: Type.Optional(
      Type.Union([Limit, Type.Null()], {
        description: `Floating IPs, each of them an allocation as well. ${removes}`,
      }),
    ),
    interfaces: Type.Optional(
      Type.Union([Limit, Type.Null()], {
        description: `Interfaces of the project; they are of no address scope. ${removes}`,
      }),
    ),
  },
  { $id: 'QuotaRequest' },
)
export type QuotaRequest = Static<typeof QuotaRequest>

const counted = <S extends TSchema>(limit: S, used: TSchema) =>
  closed({
    limit: Nullable(limit),
    limit_from: Type.Union([oneOf(['own', 'default']), Type.Null()], {
      description: '`own`, or `default`: of every project without one of its own.',
    }),
    used: Type.Union([used, Type.Null()], {
      description: 'Null for `default`, which is no project.',
    }),
  })

const counts = {
  allocations: counted(Limit, Limit),
  ipv6_64s: counted(LongLimit, Count),
  blocks: counted(Limit, Limit),
  floating_ips: counted(Limit, Limit),
  // Not `generation`, which would be the tag of an answer that changes with every allocation.
  own_generation: Type.Union([Generation, Type.Null()], {
    description: 'Of the limits that are its own; null if there are none.',
  }),
}

/** What is in force for a project in all address scopes together, and what it uses. */
const ofAll = { ...counts, interfaces: counted(Limit, Limit) }
export const QuotaCounts = closed(ofAll)
/** The same in one address scope. */
export const ScopeQuota = closed({ scope_id: Id, ...counts }, { $id: 'ScopeQuota' })
export type ScopeQuota = Static<typeof ScopeQuota>

export const ProjectQuota = closed(
  {
    project_id: ProjectId,
    ...ofAll,
    ...pageOf('address_scopes', ref(ScopeQuota)).properties,
  },
  { $id: 'ProjectQuota' },
)

export const ScopeOfQuota = scope(
  'The limits in this address scope; without it, those in all together.',
)

export const ProjectQuotaQuery = closed({
  scope_id: scope('Of the address scopes show this one alone, even if nothing is used or limited.'),
  ...PageQuery,
})

export const QuotaQuery = closed({
  project_id: Type.Optional(
    Type.String({ minLength: 1, maxLength: 255, description: 'Or `default`.' }),
  ),
  scope_id: Type.Optional(ScopeId),
  ...PageQuery,
})
export type QuotaQuery = Static<typeof QuotaQuery>
