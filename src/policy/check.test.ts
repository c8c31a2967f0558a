import { expect, test } from 'vitest'
import { asCaller } from '../../test/helpers/callers.ts'
import type { Caller } from '../auth/caller.ts'
import { authorize, authorizeForAny, denialOf } from './check.ts'
import { type RuleName, ruleDefaults } from './defaults.ts'
import { loadPolicy } from './file.ts'
import { buildRules } from './rules.ts'

const rules = loadPolicy(undefined)
const names = Object.keys(ruleDefaults) as RuleName[]
const operations = names.filter(name => ruleDefaults[name].scope_types.length > 0)

const own = (...roles: string[]) => asCaller({ project_id: 'p1', roles })
const callers = {
  admin: own('admin'),
  manager: own('manager', 'member', 'reader'),
  member: own('member', 'reader'),
  reader: own('reader'),
  service: asCaller({ project_id: 'services', roles: ['service'] }),
  'system reader': asCaller({ system_scope: 'all', roles: ['reader'] }),
  'role without a meaning': own('foo'),
  'domain admin': asCaller({ domain_id: 'd1', roles: ['admin'] }),
  'admin without a scope': asCaller({ roles: ['admin'] }),
}
type Who = keyof typeof callers

/** A thing of a project, in a scope and from a source of the same. */
const thingOf = (project_id: string | null) => ({
  project_id,
  scope: { project_id },
  source: { project_id },
})
const targets = { own: thingOf('p1'), foreign: thingOf('p2'), shared: thingOf(null) }

const allowed = (who: Who, whose: keyof typeof targets): Set<RuleName> =>
  new Set(operations.filter(rule => authorize(rules, callers[who], rule, targets[whose]).allowed))

const isRead = (name: string) => /:(get|list)/.test(name)
const byServices =
  /^(allocations|interfaces|device_interfaces|allowed_addresses|macs|floating_ips|nat_mappings|melange_v1):/
const onlyAdmin = [
  'mac_ranges:create',
  'mac_ranges:update',
  'mac_ranges:delete',
  'quotas:update',
  'quotas:delete',
] as const
const byServicesAlone = ['leases:report', 'melange_v1:global'] as const
const forAuditors = ['metrics:get', 'all_projects'] as const
const byManagers =
  /^(address_scopes|networks|blocks|policies):delete$|^blocks:hand_over$|^(quarantine|withheld_addresses):end$|^(tokens|audit_trail):/
const reads = operations.filter(name => isRead(name) && name !== 'metrics:get')
const readByAll = reads.filter(name => !byManagers.test(name))
const setOf = (...lists: (readonly string[])[]) => new Set(lists.flat())

test('an admin of any project may do everything, everywhere', () => {
  for (const whose of ['own', 'foreign', 'shared'] as const) {
    expect(allowed('admin', whose)).toEqual(new Set(operations))
  }
})

test('a manager may do in the own project all that is not for admins', () => {
  const refused: string[] = [...onlyAdmin, ...forAuditors, ...byServicesAlone]
  expect(allowed('manager', 'own')).toEqual(
    new Set(operations.filter(name => !refused.includes(name))),
  )
})

test('a member may not delete what others build on, nor see and make tokens, nor the trail', () => {
  const manager = [...allowed('manager', 'own')]
  expect(allowed('member', 'own')).toEqual(new Set(manager.filter(name => !byManagers.test(name))))
  expect(manager.filter(name => byManagers.test(name))).toHaveLength(12)
})

test('a reader reads what is of the own project', () => {
  expect(allowed('reader', 'own')).toEqual(setOf(readByAll))
})

test.each(['manager', 'member', 'reader'] as const)(
  'a %s sees nothing of other projects, and of what has none only the address scope',
  who => {
    const known = ['dhcp_options:list_known']
    expect(allowed(who, 'foreign')).toEqual(new Set(known))
    expect(allowed(who, 'shared')).toEqual(new Set([...known, 'address_scopes:get']))
  },
)

test('floating IPs are also taken from blocks of no project; other addresses are not', () => {
  const target = { project_id: 'p1', source: { project_id: null } }
  expect(authorize(rules, callers.member, 'floating_ips:create', target).allowed).toBe(true)
  expect(authorize(rules, callers.member, 'allocations:create', target).allowed).toBe(false)
  const foreign = { project_id: 'p1', source: { project_id: 'p2' } }
  expect(authorize(rules, callers.member, 'floating_ips:create', foreign).allowed).toBe(false)
})

test('services have addresses and interfaces in all projects, and read the rest', () => {
  const expected = setOf(
    operations.filter(name => byServices.test(name)),
    readByAll.filter(name => !name.startsWith('quotas:')),
    byServicesAlone,
    ['all_projects'],
  )
  for (const whose of ['own', 'foreign', 'shared'] as const) {
    expect(allowed('service', whose)).toEqual(expected)
  }
})

test('a reader of the system reads everything', () => {
  for (const whose of ['own', 'foreign', 'shared'] as const) {
    expect(allowed('system reader', whose)).toEqual(setOf(reads, forAuditors))
  }
})

test('a role of no meaning allows what is in every manual', () => {
  expect([...allowed('role without a meaning', 'own')]).toEqual(['dhcp_options:list_known'])
})

test.each(['domain admin', 'admin without a scope'] as const)('a %s may do nothing', who => {
  expect(allowed(who, 'own')).toEqual(new Set())
  expect(authorize(rules, callers[who], 'blocks:get', targets.own).refused_by).toBe('scope')
})

test('with roles that do not imply each other a member reads, too', () => {
  const lone = asCaller({ project_id: 'p1', roles: ['member'] })
  for (const rule of readByAll) {
    expect(authorize(rules, lone, rule, targets.own).allowed).toBe(true)
  }
})

test('a target that says nothing allows nothing that is bound to a project', () => {
  const bare = operations.filter(rule => authorize(rules, callers.manager, rule).allowed)
  expect(bare).toEqual(['dhcp_options:list_known'])
})

test('a refusal names the rule, its check and who asked, and no token', () => {
  const caller: Caller = asCaller({
    user_id: 'u1',
    project_id: 'p1',
    roles: ['reader'],
    service: { user_id: 'nova', project_id: 'services', roles: ['service'] },
  })
  const changed = buildRules(ruleDefaults, { 'blocks:delete': 'role:netops' })
  const verdict = authorize(changed, caller, 'blocks:delete', targets.own)
  expect(verdict.allowed).toBe(false)
  expect(denialOf(verdict, caller)).toEqual({
    rule: 'blocks:delete',
    check: 'role:netops',
    refused_by: 'check',
    user_id: 'u1',
    project_id: 'p1',
    domain_id: null,
    system_scope: null,
    roles: ['reader'],
    service_user_id: 'nova',
    service_roles: ['service'],
  })
})

test('the service token of a service gives a user no more rights', () => {
  const service = { user_id: 'nova', project_id: 'services', roles: ['service', 'admin'] }
  const helped = { ...callers.reader, service }
  for (const rule of operations) {
    const verdict = authorize(rules, helped, rule, targets.own)
    expect(verdict).toEqual(authorize(rules, callers.reader, rule, targets.own))
  }
})

test('what is allowed of whatever target is told without one, and truly', () => {
  const known = { admin: true, 'domain admin': false, 'system reader': true } as const
  for (const [who, expected] of Object.entries(known)) {
    expect(authorizeForAny(rules, callers[who as Who], 'blocks:get')).toBe(expected)
  }
  expect(authorizeForAny(rules, callers.reader, 'blocks:get')).toBe(null)
  expect(authorizeForAny(rules, callers.service, 'allocations:create')).toBe(true)
  expect(authorizeForAny(rules, callers['role without a meaning'], 'blocks:get')).toBe(false)
  for (const who of Object.keys(callers) as Who[]) {
    for (const rule of operations) {
      const verdict = authorizeForAny(rules, callers[who], rule)
      if (verdict === null) continue
      for (const target of Object.values(targets)) {
        expect([who, rule, authorize(rules, callers[who], rule, target).allowed]).toEqual([
          who,
          rule,
          verdict,
        ])
      }
    }
  }
})

test.each([
  ['not project_id:%(project_id)s', null],
  ['not (role:reader or project_id:%(project_id)s)', false],
  ['role:reader and project_id:%(project_id)s', null],
  ['role:admin and project_id:%(project_id)s', false],
  ['domain_id:%(project_id)s', false],
  ['not domain_id:%(project_id)s', true],
  ['None:%(project_id)s', null],
  ['@ or None:%(project_id)s', true],
])('whatever the target, %s is %s', (check, verdict) => {
  const changed = buildRules(ruleDefaults, { 'blocks:get': check })
  expect(authorizeForAny(changed, callers.reader, 'blocks:get')).toBe(verdict)
})
