import type { Caller } from '../../auth/caller.ts'

/** What a token may be used for. */
export type Grant = Pick<Caller, 'project_id' | 'system_scope' | 'roles'>

/** What each role brings with it. `service` is beside these: none brings it, and it brings none. */
const ladder = ['admin', 'manager', 'member', 'reader']

/**
 * What of a grant goes beyond the one who makes it; null if nothing does. An admin of the system may
 * do everything; whoever else only what is in the own scope, with own roles or lower ones.
 */
export function excessOf(grant: Grant, creator: Caller): string | null {
  const held = creator.roles.map(role => role.toLowerCase())
  const isSystemAdmin = creator.system_scope !== null && held.includes('admin')
  if (isSystemAdmin) return null
  const isOwnScope =
    (grant.project_id !== null && grant.project_id === creator.project_id) ||
    (grant.system_scope !== null && grant.system_scope === creator.system_scope)
  if (!isOwnScope) return 'scope'
  const rungs = held.map(role => ladder.indexOf(role)).filter(rung => rung >= 0)
  const highest = Math.min(...rungs, ladder.length)
  const lacking = grant.roles.filter(role => {
    const name = role.toLowerCase()
    return !held.includes(name) && (!ladder.includes(name) || ladder.indexOf(name) < highest)
  })
  return lacking.length > 0 ? `role ${lacking.join(', ')}` : null
}
