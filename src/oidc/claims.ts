import type { Verdict } from '../auth/authority.ts'
import type { OidcSettings } from '../oidc-config.ts'

export type IssuerSettings = OidcSettings['issuers'][number]
export type Claims = Readonly<Record<string, unknown>>

const textMax = 255

/**
 * Who asks, as the claims of a verified token say. A role counts only in a scope: on the system, if
 * there is one for it, else in the project.
 */
export function readClaims(
  payload: Claims,
  { issuer, claims, role_map, system_role_map }: IssuerSettings,
): Verdict {
  const user_id = claimAt(payload, claims.user_id)
  if (!isName(user_id)) return invalid(`${claims.user_id} is not the name of a user.`)
  const user_name = claimAt(payload, claims.user_name)
  const names = namesOf(claimAt(payload, claims.roles))
  const systemRoles = mapped(names, system_role_map)
  const isOnSystem = systemRoles.length > 0
  const project = claims.project_id === undefined ? null : claimAt(payload, claims.project_id)
  const project_id = isOnSystem ? null : (project ?? null)
  if (project_id !== null && !isName(project_id)) {
    return invalid(`${claims.project_id} is not the id of a project.`)
  }
  const projectRoles = project_id === null ? [] : mapped(names, role_map)
  return {
    kind: 'valid',
    caller: {
      authority: 'oidc',
      user_id,
      user_name: isName(user_name) ? user_name : null,
      // Users are told apart within their issuer only (OpenID Connect Core 1.0 §2).
      user_domain_id: issuer,
      project_id,
      domain_id: null,
      system_scope: isOnSystem ? 'all' : null,
      project_domain_id: null,
      roles: isOnSystem ? systemRoles : projectRoles,
      service: null,
    },
  }
}

/** A claim by its name, or else by the names on the way to it. */
export function claimAt(payload: Claims, path: string): unknown {
  if (Object.hasOwn(payload, path)) return payload[path]
  let value: unknown = payload
  for (const name of path.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
    value = (value as Claims)[name]
  }
  return value
}

const isName = (value: unknown): value is string =>
  typeof value === 'string' && value.length > 0 && value.length <= textMax

function namesOf(value: unknown): readonly string[] {
  if (typeof value === 'string') return value.split(' ').filter(name => name !== '')
  if (!Array.isArray(value)) return []
  return value.filter(name => typeof name === 'string')
}

function mapped(names: readonly string[], map: Readonly<Record<string, string>>): string[] {
  return [...new Set(names.flatMap(name => (Object.hasOwn(map, name) ? (map[name] ?? []) : [])))]
}

const invalid = (reason: string): Verdict => ({ kind: 'invalid', reason: `The token: ${reason}` })
