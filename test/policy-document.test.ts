import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { Caller } from '../src/auth/caller.ts'
import { authorize } from '../src/policy/check.ts'
import { checkRule } from '../src/policy/commands.ts'
import { type RuleName, ruleDefaults } from '../src/policy/defaults.ts'
import type { Target } from '../src/policy/evaluate.ts'
import { readOverrides } from '../src/policy/file.ts'
import { buildRules } from '../src/policy/rules.ts'
import { asCaller } from './helpers/callers.ts'

const text = readFileSync(new URL('../docs/policy.md', import.meta.url), 'utf8')
const examples = [...text.matchAll(/^```yaml\n(.*?)^```$/gms)].map(([, yaml]) => String(yaml))

const service = asCaller({ project_id: 'services', roles: ['service'] })
const through = { user_id: 'nova', project_id: null, roles: ['service'] }
const member = asCaller({ project_id: 'p1', roles: ['member'] })
const shared = { project_id: 'p1', source: { project_id: null } }
const foreign = { project_id: 'p2', scope: { project_id: 'p2' } }
const one = '2f9d1c0b5a7e4f4c8d3e6b1a0c9f8e7d'

/** For each example a request that it allows, or denies, unlike the defaults. */
const effects: readonly [Caller, RuleName, Target, boolean][] = [
  [asCaller({ project_id: 'p1', roles: ['netops'] }), 'mac_ranges:create', {}, true],
  [member, 'allocations:create', shared, true],
  [service, 'blocks:create', foreign, true],
  [member, 'allocations:release', { project_id: 'p1' }, false],
  [asCaller({ project_id: 'p1', roles: ['auditor'] }), 'blocks:get', foreign, true],
  [asCaller({ project_id: 'p1', roles: ['admin'] }), 'quotas:update', foreign, false],
]

test('each example changes what it is said to change', () => {
  expect(examples).toHaveLength(effects.length)
  for (const [index, [caller, rule, target, allowed]] of effects.entries()) {
    const rules = buildRules(ruleDefaults, readOverrides(examples[index] ?? ''))
    expect(authorize(rules, caller, rule, target).allowed).toBe(allowed)
    expect(authorize(buildRules(ruleDefaults), caller, rule, target).allowed).toBe(!allowed)
  }
})

test('what an example is to leave alone it leaves alone', () => {
  const verdict = (index: number, caller: Caller, rule: RuleName, target: Target) =>
    authorize(buildRules(ruleDefaults, readOverrides(examples[index] ?? '')), caller, rule, target)
      .allowed
  expect(verdict(1, member, 'allocations:create', { project_id: 'p1', source: foreign })).toBe(
    false,
  )
  expect(verdict(2, member, 'blocks:create', foreign)).toBe(false)
  const viaNova = { ...member, service: through }
  expect(verdict(3, viaNova, 'allocations:release', { project_id: 'p1' })).toBe(true)
  expect(verdict(3, viaNova, 'allocations:release', { project_id: 'p2' })).toBe(false)
  const admin = asCaller({ project_id: one, roles: ['admin'] })
  expect(verdict(5, admin, 'quotas:update', foreign)).toBe(true)
})

test('the check that is shown prints what is shown', () => {
  const [, asked, printed] = /^\$ melange policy check (.*)\n([^`]*)\n```/m.exec(text) ?? []
  expect(asked).toBe('--rule networks:delete --roles manager --project p1 --target project_id=p2')
  const options = { roles: ['manager'], serviceRoles: [], user: 'user', project: 'p1' }
  const target = { project_id: 'p2' }
  const rules = buildRules(ruleDefaults)
  expect(checkRule(rules, { ...options, rule: 'networks:delete', target }).text).toBe(printed)
})
