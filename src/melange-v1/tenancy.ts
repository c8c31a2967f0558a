import type { FastifyRequest } from 'fastify'
import { noteDenial } from '../audit-trail/denials.ts'
import { callerOf } from '../auth/authenticate.ts'
import { authorize, denialOf } from '../policy/check.ts'
import type { Rules } from '../policy/rules.ts'
import { Fault } from './fault.ts'
import { askedVersion, readPath } from './negotiate.ts'

/**
 * Refuses whoever may not touch things of a project, or those of none (null). Hidden is what is then
 * answered as if it were not there.
 *
 * @throws {Fault} plain, 403
 */
export type Reach = (project_id: string | null, more?: { readonly isHidden: boolean }) => void

/** Whether a thing of a project, or a shared one, is there for the caller. */
export function sees(reach: Reach, project_id: string | null): boolean {
  if (project_id === null) return true
  try {
    reach(project_id, { isHidden: true })
    return true
  } catch (error) {
    if (error instanceof Fault) return false
    throw error
  }
}

/** How far the caller of a request may reach, by the rules that are in effect now. */
export function reachOf(request: FastifyRequest, rules: Rules): Reach {
  const caller = callerOf(request)
  return (project_id, { isHidden } = { isHidden: false }) => {
    const verdict =
      project_id === null
        ? authorize(rules, caller, 'melange_v1:global')
        : authorize(rules, caller, 'melange_v1:tenant', { project_id })
    if (verdict.allowed) return
    request.log.info({ denial: denialOf(verdict, caller), project_id }, 'denied')
    noteDenial(request, { rule: verdict.rule, object: null, isHidden })
    throw forbidden(caller.project_id)
  }
}

/** The tenant below whose path a request asks, as the routes see it; null if it is below none. */
export function tenantOf({ url, headers }: Pick<FastifyRequest, 'url' | 'headers'>): string | null {
  const { path } = askedVersion(readPath(url) ?? '', headers.accept)
  return /^\/ipam\/tenants\/([^/]+)\//.exec(path)?.[1] ?? null
}

/**
 * Lets pass who is an admin, or asks below the path of the own tenant. Whoever sets the headers has
 * a token that may do everything, so they can only take away.
 *
 * @throws {Fault} plain, 403
 */
export function refuseByHeaders(request: FastifyRequest): void {
  const { 'x-role': roles = '', 'x-tenant': tenant } = request.headers
  const isAdmin = String(roles)
    .split(',')
    .some(role => role.toLowerCase() === 'admin')
  if (isAdmin || (tenant !== undefined && tenantOf(request) === tenant)) return
  noteDenial(request, { rule: 'melange_v1:tenant', object: null, isHidden: false })
  throw forbidden(tenant === undefined ? null : String(tenant))
}

/** What the original answers before it looks at anything else. */
const forbidden = (tenant: string | null): Fault =>
  new Fault(403, `User with tenant id ${tenant ?? 'None'} cannot access this resource`, {
    isPlain: true,
  })
