import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { ruleDefaults } from './defaults.ts'
import { parseCheck, printCheck } from './language.ts'
import { operationRules } from './operation-rules.ts'

type Operation = { readonly security?: readonly object[] }
const document = JSON.parse(
  readFileSync(new URL('../../docs/openapi.json', import.meta.url), 'utf8'),
) as { readonly paths: Record<string, Record<string, Operation>> }

/** What is served to anybody, such as being up, needs no rule. */
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods)
    .filter(([, { security }]) => security?.length !== 0)
    .map(([method]) => `${method.toUpperCase()} ${path}`),
)

test('every operation of the API has just one rule, and every rule an operation', () => {
  const ruled = Object.values(operationRules).flatMap(({ operations }) => operations)
  const native = ruled.filter(operation => !operation.startsWith('* '))
  expect(operations.length).toBeGreaterThan(100)
  expect(native.toSorted()).toEqual(operations.toSorted())
  const idle = Object.entries(operationRules).filter(([, rule]) => rule.operations.length === 0)
  expect(idle.map(([name]) => name)).toEqual(['all_projects', 'blocks:resize', 'blocks:hand_over'])
})

test('checks are written as they are printed, and told apart by what they say', () => {
  for (const { check, description } of Object.values(ruleDefaults)) {
    expect(printCheck(parseCheck(check))).toBe(check)
    expect(description).toMatch(/^[A-Z].*\.$/)
  }
})
