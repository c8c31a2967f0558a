import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { loadPolicy, lookMilliseconds, openPolicy } from './file.ts'
import { PolicyError } from './policy-error.ts'
import type { Rules } from './rules.ts'

let folder = ''
let file = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'policy-'))
  file = join(folder, 'policy.yaml')
})
afterEach(() => rmSync(folder, { recursive: true }))

const allowing = (role: string) => `"blocks:delete": "role:${role}"\n`
const deleters = (rules: Rules) => rules.get('blocks:delete')?.text

/** A policy that is open, its clock, and what was told. */
function open() {
  const told: string[] = []
  let time = 0
  const current = openPolicy({
    file,
    now: () => time,
    onError: error => told.push(error.message),
    onChange: rules => told.push(`now ${deleters(rules)}`),
  })
  const wait = (milliseconds = lookMilliseconds) => {
    time += milliseconds
  }
  return { told, wait, deleters: () => deleters(current()) }
}

const byDefault = 'rule:project_manager and rule:own_space or role:manager and rule:giver'

test('without a file the defaults apply', () => {
  expect(deleters(loadPolicy(undefined))).toBe(byDefault)
  const never = () => expect.unreachable()
  const current = openPolicy({ file: undefined, onError: never, onChange: never })
  expect(deleters(current())).toBe(byDefault)
})

test('a change takes effect a second later, without a restart', () => {
  writeFileSync(file, allowing('a'))
  const policy = open()
  expect(policy.deleters()).toBe('role:a')
  writeFileSync(file, allowing('b'))
  policy.wait(lookMilliseconds - 1)
  expect(policy.deleters()).toBe('role:a')
  policy.wait(1)
  expect(policy.deleters()).toBe('role:b')
  writeFileSync(join(folder, 'new'), allowing('c'))
  renameSync(join(folder, 'new'), file)
  policy.wait()
  expect(policy.deleters()).toBe('role:c')
  expect(policy.told).toEqual(['now role:b', 'now role:c'])
})

test('a broken file changes nothing and is told of once', () => {
  writeFileSync(file, allowing('a'))
  const policy = open()
  const broken = [
    '"blocks:delete": "role:"\n',
    '"blocks:delet": "@"\n',
    '"blocks:delete": "@\n',
    '- "@"\n',
    '',
  ]
  for (const text of broken) {
    writeFileSync(file, text)
    for (let look = 0; look < 3; look++) {
      policy.wait()
      expect(policy.deleters()).toBe('role:a')
    }
  }
  rmSync(file)
  policy.wait()
  expect(policy.deleters()).toBe('role:a')
  expect(policy.told).toHaveLength(6)
  for (const message of policy.told) expect(message.startsWith(`${file}: `)).toBe(true)
  expect(policy.told.at(-2)).toBe(`${file}: the file is empty; write {} if there are no rules`)
  expect(policy.told.at(-1)).toBe(`${file}: there is no such file`)

  writeFileSync(file, allowing('a'))
  policy.wait()
  expect(policy.deleters()).toBe('role:a')
  rmSync(file)
  policy.wait()
  policy.deleters()
  expect(policy.told).toHaveLength(7)
})

test.each([
  ['', 'the file is empty'],
  ['- a\n', 'the file is not a YAML mapping'],
  ['text', 'the file is not a YAML mapping'],
  ['"blocks:get": "@"\n"blocks:get": "!"\n', 'Map keys must be unique'],
  ['a: [', 'Flow sequence'],
  ['"blocks:get": "@"\n"blocks:list": !\n', 'line 2: "!" is no check; put a check with "!" in'],
  ['"blocks:list": !role:x\n', 'line 1: "!role:x" is no check'],
  ['"blocks:list": @\n', 'Plain value cannot start with reserved character @'],
  ['"blocks:list": *all\n', 'Unresolved alias'],
  ['"blocks:get": &a [*a]\n', 'rule blocks:get: a list has texts'],
  [`#${' '.repeat(1_000_000)}`, 'the file is longer than 1000000 characters'],
])('a server does not start with %j', (text, message) => {
  writeFileSync(file, text)
  expect(() => open()).toThrow(PolicyError)
  expect(() => open()).toThrow(message)
  expect(() => loadPolicy(file)).toThrow(message)
})

test('a server does not start without its file', () => {
  expect(() => open()).toThrow(`${file}: there is no such file`)
  expect(() => loadPolicy(folder)).toThrow(PolicyError)
})

test.each(['{}', '# nothing yet\n', `{"blocks:delete": "${byDefault}"}`])(
  '%j is a file that changes nothing',
  text => {
    writeFileSync(file, text)
    expect(deleters(loadPolicy(file))).toBe(deleters(loadPolicy(undefined)))
  },
)
