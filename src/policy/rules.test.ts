import { expect, test } from 'vitest'
import { ruleDefaults } from './defaults.ts'
import { PolicyError } from './policy-error.ts'
import { buildRules, rulesMax, totalDepthMax } from './rules.ts'

const build = (overrides: Record<string, unknown>) => buildRules(ruleDefaults, overrides)

test('a file changes the rules that it names, and no others', () => {
  const rules = build({ 'blocks:delete': 'rule:netops', netops: [['role:netops'], 'role:admin'] })
  expect(rules.get('blocks:delete')).toMatchObject({ text: 'rule:netops', source: 'file' })
  expect(rules.get('netops')?.text).toBe('role:netops or role:admin')
  expect(rules.get('blocks:delete')?.scope_types).toEqual(['project', 'system'])
  const others = [...rules].filter(([name]) => !['blocks:delete', 'netops'].includes(name))
  expect(Object.fromEntries(others)).toEqual(
    Object.fromEntries([...build({})].filter(([name]) => name !== 'blocks:delete')),
  )
})

const long = Object.fromEntries(
  Array.from({ length: totalDepthMax }, (_, i) => [`r${i}`, `not rule:r${i + 1}`]),
)
const many = Object.fromEntries(Array.from({ length: rulesMax }, (_, i) => [`r${i}`, '@']))

test.each([
  [{ 'block:create': '@' }, 'rule block:create: there is no such rule; blocks:create is meant?'],
  [{ 'x:y:z:x:y:z': '@' }, 'there is no such rule; `melange policy list` shows those'],
  [{ admin_requierd: '@' }, 'no other refers to it; admin_required is meant?'],
  [{ netops: 'role:netops' }, 'there is no such rule, and no other refers to it'],
  [{ 'blocks:get': 'rule:project_raeder' }, 'there is no rule project_raeder; project_reader is'],
  [{ 'blocks:get': 'role:a and' }, 'rule blocks:get: "role:a and" at character 11'],
  [{ 'blocks:get': null }, 'rule blocks:get: a check is a text or a list, not empty'],
  [{ 'a b': '@' }, 'rule a b: there is no such rule'],
  [
    { admin_required: 'rule:a', a: 'not (role:x or rule:b)', b: 'rule:admin_required' },
    'refers to itself: admin_required -> a -> b -> admin_required',
  ],
  [{ 'blocks:get': 'rule:blocks:get' }, 'refers to itself: blocks:get -> blocks:get'],
  [{ ...long, 'blocks:get': 'rule:r0', [`r${totalDepthMax}`]: '@' }, 'nested deeper than 200'],
  [many, 'there are more than 1000 rules'],
])('%j is refused: %s', (overrides, message) => {
  expect(() => build(overrides)).toThrow(PolicyError)
  expect(() => build(overrides)).toThrow(message)
})
