import { expect, test } from 'vitest'
import { asCaller } from '../../test/helpers/callers.ts'
import { IpamError } from '../errors.ts'
import { ruleDefaults } from '../policy/defaults.ts'
import { loadPolicy } from '../policy/file.ts'
import { buildRules } from '../policy/rules.ts'
import { accessOf } from './access.ts'

const rules = loadPolicy(undefined)
const member = asCaller({ project_id: 'red', roles: ['member'] })
const service = asCaller({ project_id: 'services', roles: ['service'] })

/** The access of a caller, and what was logged of refusals. */
function open(caller = member, overrides?: Record<string, string>) {
  const logged: unknown[] = []
  const log = { info: (...said: unknown[]) => void logged.push(said) }
  const effective = overrides ? buildRules(ruleDefaults, overrides) : rules
  return { ...accessOf(effective, caller, log), logged }
}

const refusalOf = (work: () => unknown): IpamError => {
  try {
    work()
  } catch (error) {
    if (error instanceof IpamError) return error
    throw error
  }
  throw new Error('it was not refused')
}
const owned = (project_id: string | null) => ({
  project_id,
  scope_project_id: project_id,
  parent_project_id: null,
  granted_to: null,
})
const network = { kind: 'network', id: 'N', field: 'network_id' } as const

test('a thing that may not be seen is answered as one that is not there', () => {
  const { demandOn, logged } = open()
  const missing = refusalOf(() => demandOn('networks:update', network, undefined))
  const foreign = refusalOf(() => demandOn('networks:update', network, owned('blue')))
  expect(missing).toMatchObject({ code: 'network_not_found', message: 'There is no network N.' })
  expect([foreign.code, foreign.message, foreign.facts]).toEqual([
    missing.code,
    missing.message,
    missing.facts,
  ])
  expect(logged).toEqual([])
})

test('what may be seen and not be done is forbidden, and the log says by what', () => {
  const { demandOn, logged } = open()
  demandOn('networks:update', network, owned('red'))
  const refused = refusalOf(() => demandOn('networks:delete', network, owned('red')))
  expect(refused.code).toBe('forbidden')
  expect(refused.message).toContain('networks:delete')
  expect(logged).toMatchObject([[{ rule: 'networks:delete', roles: ['member'] }, 'denied']])
})

test('a list is of the own project, with what is shared with everybody', () => {
  const { boundOf } = open()
  expect(boundOf('networks:list')).toEqual({ kind: 'project', project_id: 'red', isShared: false })
  expect(boundOf('address_scopes:list')).toMatchObject({ project_id: 'red', isShared: true })
  expect(boundOf('networks:list', 'red')).toEqual({ kind: 'all' })
  expect(refusalOf(() => boundOf('networks:list', 'blue')).code).toBe('forbidden')
  expect(refusalOf(() => boundOf('tokens:list')).code).toBe('forbidden')
})

test('a list is of everything only for whom both rules allow it', () => {
  const { boundOf } = open(service)
  expect(boundOf('networks:list')).toEqual({ kind: 'all' })
  expect(refusalOf(() => boundOf('quotas:list')).code).toBe('forbidden')
  const shut = open(service, { all_projects: '!' })
  expect(shut.boundOf('networks:list')).toMatchObject({ project_id: 'services' })
  const shared = open(member, { 'networks:get': 'rule:project_reader or None:%(project_id)s' })
  expect(shared.boundOf('networks:list')).toMatchObject({ project_id: 'red', isShared: true })
})

test('without a project and all_projects nothing is listed', () => {
  const nobody = open(asCaller({ system_scope: 'all', roles: ['nothing'] }))
  expect(refusalOf(() => nobody.boundOf('networks:list')).code).toBe('forbidden')
})

test('what the rules said is remembered for these rules and this caller alone', () => {
  const target = { project_id: 'red' }
  expect(open().may('networks:delete', target)).toBe(false)
  expect(open().may('networks:delete', target)).toBe(false)
  expect(open(member, { 'networks:delete': 'role:member' }).may('networks:delete', target)).toBe(
    true,
  )
  expect(open({ ...member, roles: ['manager'] }).may('networks:delete', target)).toBe(true)
  expect(open().may('networks:delete', target)).toBe(false)
})
