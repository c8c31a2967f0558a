import { type Static, Type } from 'typebox'
import { Value } from 'typebox/value'
import type { Caller } from '../auth/caller.ts'
import type { AccessRule } from './access-rules.ts'

const Id = Type.String({ minLength: 1, maxLength: 255 })
const Name = Type.String({ maxLength: 255 })
const Domain = Type.Object({ id: Id })
const Rule = Type.Object({ service: Type.String(), method: Type.String(), path: Type.String() })
const Endpoint = Type.Object({
  interface: Type.String(),
  region_id: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  url: Type.String(),
})

/** What is read of Keystone's description of a token; there may be more in it. */
const Body = Type.Object({
  token: Type.Object({
    user: Type.Object({ id: Id, name: Name, domain: Domain }),
    issued_at: Type.String(),
    expires_at: Type.String(),
    project: Type.Optional(Type.Object({ id: Id, domain: Domain })),
    domain: Type.Optional(Domain),
    system: Type.Optional(Type.Object({ all: Type.Optional(Type.Boolean()) })),
    roles: Type.Optional(Type.Array(Type.Object({ name: Name }))),
    application_credential: Type.Optional(
      Type.Object({
        access_rules: Type.Optional(Type.Union([Type.Array(Rule), Type.Null()])),
      }),
    ),
    catalog: Type.Optional(
      Type.Array(Type.Object({ type: Type.String(), endpoints: Type.Array(Endpoint) })),
    ),
  }),
})

export type TokenBody = Static<typeof Body>['token']

/** What a token is worth, as Keystone said. */
export type Identity = {
  readonly caller: Caller
  /** By the clock, in milliseconds since 1970. */
  readonly expires_at: number
  /** What the token is restricted to; null if to nothing. */
  readonly access_rules: readonly AccessRule[] | null
}

/** The token that an answer describes; null if it describes none. */
export function readTokenBody(body: unknown): TokenBody | null {
  if (!Value.Check(Body, body)) return null
  const { token } = body
  const times = [token.issued_at, token.expires_at].map(time => Date.parse(time))
  return times.every(Number.isFinite) ? token : null
}

/**
 * The identity behind a token; null if it has no scope, and so no roles. Only names of roles count:
 * what Keystone says of an "admin project" gives nothing.
 */
export function identityOf(token: TokenBody): Identity | null {
  const { user, project, domain, system } = token
  if (!project && !domain && !system?.all) return null
  return {
    caller: {
      authority: 'keystone',
      user_id: user.id,
      user_name: user.name,
      user_domain_id: user.domain.id,
      project_id: project?.id ?? null,
      domain_id: project ? null : (domain?.id ?? null),
      system_scope: project || domain ? null : 'all',
      project_domain_id: project?.domain.id ?? null,
      roles: (token.roles ?? []).map(({ name }) => name),
      service: null,
    },
    expires_at: Date.parse(token.expires_at),
    access_rules: token.application_credential?.access_rules ?? null,
  }
}

/** Whether the catalogue of a token has a service of this type. */
export const listsService = ({ catalog = [] }: TokenBody, type: string): boolean =>
  catalog.some(service => service.type === type)

/** The URL of the identity service in the catalogue of a token; null if it has none there. */
export function findIdentityUrl(
  { catalog = [] }: TokenBody,
  place: { readonly interface: string; readonly region: string | undefined },
): string | null {
  const endpoints = catalog
    .filter(({ type }) => type === 'identity')
    .flatMap(service => service.endpoints)
  const found = endpoints.find(
    endpoint =>
      endpoint.interface === place.interface &&
      (place.region === undefined || endpoint.region_id === place.region),
  )
  return found?.url ?? null
}
