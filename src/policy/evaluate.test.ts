import fc from 'fast-check'
import { expect, test } from 'vitest'
import { asCaller } from '../../test/helpers/callers.ts'
import type { Caller } from '../auth/caller.ts'
import { credentialsOf } from './credentials.ts'
import { evaluate, type Target } from './evaluate.ts'
import { parseCheck } from './language.ts'
import { PolicyError } from './policy-error.ts'

function allows(source: unknown, caller: Partial<Caller> = {}, target: Target = {}): boolean {
  return evaluate(parseCheck(source), {
    credentials: credentialsOf(asCaller(caller)),
    target,
    checkOf: name => (name === 'yes' ? { kind: 'all' } : undefined),
    known: new Map(),
  })
}

/** Checks with what they come to, which is written down and not computed. */
const facts = [
  ['@', true],
  ['!', false],
  ['rule:yes', true],
  ['rule:unheard_of', false],
  ['role:member', true],
  ['role:MEMBER', true],
  ['role:%(wanted)s', true],
  ['role:admin', false],
  ['roles:Member', true],
  ['roles:member', false],
  ['is_admin:False', true],
  ['is_admin:True', false],
  ['project_id:p1', true],
  ['project_id:%(project_id)s', true],
  ['project_id:%(target.project_id)s', true],
  ['project_id:%(scope.project_id)s', false],
  ['project_id:%(missing)s', false],
  ['project_id:%(scope)s', false],
  ['project_id:%(scope.project_id.deeper)s', false],
  ['user_id:%(flat.name)s', true],
  ["'p2':%(target.scope.project_id)s", true],
  ["'admin':%(wanted)s", false],
  ['True:%(enabled)s', true],
  ['False:%(enabled)s', false],
  ['4:%(version)s', true],
  ['"x4%":x%(version)s%%', true],
  ['None:%(nothing)s', true],
  ['None:%(missing)s', false],
  ['system_scope:all', false],
  ['domain_id:None', true],
  ['domain_id:%(nothing)s', false],
  ['service_roles:service', true],
  ['service_project_id:%(nothing)s', false],
  ['user_id:%(toString)s', false],
  ['user_id:%(__proto__.name)s', false],
] as const

const caller: Partial<Caller> = {
  user_id: 'u1',
  project_id: 'p1',
  roles: ['Member', 'reader'],
  service: { user_id: 'nova', project_id: null, roles: ['service'] },
}
const target: Target = {
  project_id: 'p1',
  scope: { project_id: 'p2' },
  'flat.name': 'u1',
  wanted: 'Member',
  enabled: true,
  version: 4,
  nothing: null,
}

test.each(facts)('%s is %j', (text, verdict) => {
  expect(allows(text, caller, target)).toBe(verdict)
})

const operators: Record<string, string> = { and: '&&', or: '||', not: '!' }

/** Any row of words, with the same in JavaScript, whose operators bind in the same order. */
const rows = fc
  .array(
    fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom(...facts) },
      { weight: 2, arbitrary: fc.constantFrom('and', 'or') },
      fc.constantFrom('not', '(', ')'),
    ),
    { minLength: 1, maxLength: 9 },
  )
  .map(words => ({
    text: words.map(word => (typeof word === 'string' ? word : word[0])).join(' '),
    script: words
      .map(word => (typeof word === 'string' ? (operators[word] ?? word) : String(word[1])))
      .join(' '),
  }))

/** Null if it is no expression. */
function verdictOf(script: string): boolean | null {
  if (/(\w|\)) *\(/.test(script)) return null // JavaScript takes it for a call.
  try {
    return new Function(`return ${script}`)()
  } catch {
    return null
  }
}

function verdictOrRefusal(text: string): boolean | null {
  try {
    return allows(text, caller, target)
  } catch (error) {
    if (error instanceof PolicyError) return null
    throw error
  }
}

test('"not", "and", "or" and brackets mean what they mean in JavaScript', () => {
  const seen = new Set<boolean | null>()
  fc.assert(
    fc.property(rows, ({ text, script }) => {
      const verdict = verdictOrRefusal(text)
      seen.add(verdict)
      expect(verdict).toBe(verdictOf(script))
    }),
    { numRuns: 5000 },
  )
  expect(seen).toEqual(new Set([true, false, null]))
})

test('the older lists mean the same as text', () => {
  const lists = fc.array(fc.array(fc.constantFrom(...facts), { minLength: 1, maxLength: 3 }), {
    minLength: 1,
    maxLength: 3,
  })
  fc.assert(
    fc.property(lists, lists => {
      const verdict = lists.some(facts => facts.every(([, verdict]) => verdict))
      const texts = lists.map(facts => facts.map(([text]) => text))
      expect(allows(texts, caller, target)).toBe(verdict)
    }),
  )
})

test('a caller without a project is not owner of what has no project', () => {
  const nobody: Partial<Caller> = { project_id: null, roles: ['member'] }
  expect(allows('project_id:%(project_id)s', nobody, { project_id: null })).toBe(false)
  expect(allows('project_id:%(project_id)s', nobody, { project_id: 'None' })).toBe(false)
  expect(allows('project_id:None', nobody)).toBe(true)
  expect(allows('role:%(project_id)s', { roles: ['None'] }, { project_id: null })).toBe(false)
})
