import { operationRules } from './operation-rules.ts'
import type { RuleDefault } from './rules.ts'

/**
 * The rules that others refer to: the personas of OpenStack's goal "Consistent and Secure Default
 * RBAC", phase 1: who is admin in any project is admin of all.
 */
const baseRules = {
  admin_required: part('role:admin', 'Administrators of the cloud: they may do everything.'),
  service_role: part('role:service', 'Services of the cloud, such as Nova and Neutron.'),
  system_reader: part(
    'rule:admin_required or system_scope:all and (role:manager or role:member or role:reader)',
    'Auditors: they may read everything.',
  ),
  project_manager: part(
    'rule:admin_required or role:manager and project_id:%(project_id)s',
    'Those who manage the project.',
  ),
  project_member: part(
    'rule:project_manager or role:member and project_id:%(project_id)s',
    'Those who work in the project.',
  ),
  project_reader: part(
    'rule:project_member or rule:system_reader or role:reader and project_id:%(project_id)s',
    'Those who may look into the project.',
  ),
  project_member_or_service: part(
    'rule:project_member or rule:service_role',
    'What services do for every project, and its members by themselves.',
  ),
  project_reader_or_service: part(
    'rule:project_reader or rule:service_role',
    'What services read of every project.',
  ),
  own_scope: part(
    'rule:admin_required or project_id:%(scope.project_id)s',
    'Whose address scope one may change: only the own. The public one has no project.',
  ),
  own_space: part(
    'rule:own_scope or project_id:%(parent.project_id)s',
    'Whose space blocks are made in: also that of a block of the own project, whosever the scope is.',
  ),
  giver: part(
    '(role:manager or role:member or role:reader) and project_id:%(parent.project_id)s',
    'Those of the project whose block a block lies in: of one that was handed over, who gave it.',
  ),
  grantee: part(
    '(role:manager or role:member or role:reader) and project_id:%(grant.project_id)s',
    'Those of a project to which a block or network is granted.',
  ),
  own_source: part(
    'rule:admin_required or rule:service_role or project_id:%(source.project_id)s',
    'From whose blocks and networks addresses may be taken: the own, and what is granted.',
  ),
  floating_ip_source: part(
    'rule:own_source or None:%(source.project_id)s',
    'From whose blocks floating IPs may be taken: also from those of no project.',
  ),
} as const

function part(check: string, description: string): RuleDefault {
  return { check, description, operations: [], scope_types: [] }
}

/** Every rule, by its name. */
export const ruleDefaults = { ...baseRules, ...operationRules } as const satisfies Record<
  string,
  RuleDefault
>
export type RuleName = keyof typeof ruleDefaults
