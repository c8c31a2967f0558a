import type { Caller } from '../auth/caller.ts'

/** What check strings may ask of a caller; the names are those of oslo.context. */
export type Credentials = Readonly<
  Record<CallerAttribute, string | boolean | null | readonly string[]>
>
export type CallerAttribute = keyof typeof callerAttributes

/** Each attribute with what it is. */
export const callerAttributes = {
  user_id: 'the user',
  user_domain_id: 'the domain of the user',
  project_id: 'the project of the token, null if it has another scope',
  project_domain_id: 'the domain of that project',
  domain_id: 'the domain of a token of domain scope, else null',
  system_scope: '`all` in a token of system scope, else null',
  roles: 'the roles, compared as they are spelled; `role:` does not mind upper and lower case',
  is_admin: '`True` for whoever has the role admin, else `False`',
  service_user_id: 'the service that asks in the name of the user (X-Service-Token), else null',
  service_project_id: 'the project of that service',
  service_roles: 'the roles of that service',
} as const

export const isCallerAttribute = (name: string): name is CallerAttribute =>
  Object.hasOwn(callerAttributes, name)

export function credentialsOf(caller: Caller): Credentials {
  const { user_id, user_domain_id, project_id, project_domain_id, domain_id } = caller
  const { system_scope, roles, service } = caller
  return {
    user_id,
    user_domain_id,
    project_id,
    project_domain_id,
    domain_id,
    system_scope,
    roles,
    is_admin: roles.some(role => role.toLowerCase() === 'admin'),
    service_user_id: service?.user_id ?? null,
    service_project_id: service?.project_id ?? null,
    service_roles: service?.roles ?? [],
  }
}
