import { type Static, Type } from 'typebox'
import {
  closed,
  Description,
  Id,
  Name,
  Nullable,
  oneOf,
  PageQuery,
  ProjectId,
  Time,
} from '../../schema.ts'

const Role = Type.String({ minLength: 1, maxLength: 255 })
const Roles = Type.Array(Role, { minItems: 1, maxItems: 64, uniqueItems: true })
const SystemScope = Type.Literal('all')

const described = {
  id: Id,
  name: Name,
  description: Description,
  prefix: Nullable(Type.String(), {
    description: 'How the token begins, to tell it by; null if it was made before that was kept.',
  }),
  project_id: Nullable(ProjectId),
  system_scope: Nullable(SystemScope, { description: '`all` for a token of no project.' }),
  roles: Type.Array(Type.String()),
  created_by: Nullable(Type.String(), {
    description:
      'The user who made it, for tokens the id of the token; null if that was not by the API.',
  }),
  created_at: Time,
  expires_at: Nullable(Time),
  revoked_at: Nullable(Time),
  last_used_at: Nullable(Time, {
    description: 'To the minute, and written down within two minutes.',
  }),
}

export const Token = closed(described, { $id: 'Token' })
export type Token = Static<typeof Token>

export const CreatedToken = closed(
  {
    ...described,
    secret: Nullable(Type.String(), {
      description:
        'The token itself. It is told just this once: an answer that is repeated for its `Idempotency-Key` has null.',
    }),
  },
  { $id: 'CreatedToken' },
)

/** 100 years. */
const lifetimeMax = 3_155_760_000

export const TokenRequest = closed(
  {
    name: Type.String({ minLength: 1, maxLength: 255 }),
    description: Type.Optional(Description),
    project_id: Type.Optional(
      Nullable(ProjectId, { description: 'The scope; either this or `system_scope`.' }),
    ),
    system_scope: Type.Optional(Nullable(SystemScope)),
    roles: Roles,
    lifetime_seconds: Type.Optional(
      Nullable(
        Type.Integer({
          minimum: 1,
          maximum: lifetimeMax,
          description: 'After how long the token expires; null, or nothing, is never.',
        }),
      ),
    ),
  },
  { $id: 'TokenRequest' },
)
export type TokenRequest = Static<typeof TokenRequest>

export const TokenQuery = closed({
  project_id: Type.Optional(ProjectId),
  system_scope: Type.Optional(SystemScope),
  name: Type.Optional(Name),
  prefix: Type.Optional(
    Type.String({
      pattern: '^melange_[A-Za-z0-9_-]{6}$',
      maxLength: 14,
      description: 'The first 14 characters of a token.',
    }),
  ),
  created_by: Type.Optional(Type.String({ minLength: 1, maxLength: 255 })),
  state: oneOf(['active', 'ended', 'all'], {
    default: 'active',
    description: 'Ended are those that were revoked or have expired.',
  }),
  ...PageQuery,
})
export type TokenQuery = Static<typeof TokenQuery>
