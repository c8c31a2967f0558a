import type { Caller } from '../../src/auth/caller.ts'

/** A caller of Keystone without any scope and role, but for what is named. */
export function asCaller(members: Partial<Caller>): Caller {
  return {
    authority: 'keystone',
    user_id: 'user',
    user_name: null,
    user_domain_id: null,
    project_id: null,
    domain_id: null,
    system_scope: null,
    project_domain_id: null,
    roles: [],
    service: null,
    ...members,
  }
}
