import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterAll, afterEach, expect, test, vi } from 'vitest'
import { addPolicyCommands } from './commands.ts'
import { ruleDefaults } from './defaults.ts'
import { readOverrides } from './file.ts'
import { buildRules } from './rules.ts'

const folder = mkdtempSync(join(tmpdir(), 'policy-'))
const file = join(folder, 'policy.yaml')
writeFileSync(file, '"blocks:delete": "rule:netops"\nnetops: role:netops\n')

afterEach(() => {
  vi.restoreAllMocks()
  process.exitCode = 0
})
afterAll(() => rmSync(folder, { recursive: true }))

/** What the command prints, and its status. */
async function melange(line: string, policy: { file?: string } = {}) {
  const printed = vi.spyOn(console, 'log').mockImplementation(() => undefined)
  const program = new Command().exitOverride()
  const work: Promise<void>[] = []
  addPolicyCommands(program, todo => {
    work.push(todo({ policy }))
  })
  await program.parseAsync(line.split(' '), { from: 'user' })
  await Promise.all(work)
  return { text: printed.mock.calls.flat().join('\n'), status: process.exitCode ?? 0 }
}

test('list: the rules in effect, with their source', async () => {
  const { text } = await melange('policy list', { file })
  const lines = text.split('\n').map(line => line.split(/ {2,}/))
  expect(lines).toHaveLength(Object.keys(ruleDefaults).length + 1)
  expect(lines).toContainEqual(['blocks:delete', 'file', 'rule:netops'])
  expect(lines).toContainEqual(['netops', 'file', 'role:netops'])
  expect(lines).toContainEqual(['blocks:list', 'default', 'rule:project_reader_or_service'])
})

test('sample: without the comment signs it is the defaults', async () => {
  const { text } = await melange('policy sample')
  expect(readOverrides(text)).toEqual({})
  const overrides = readOverrides(text.replaceAll(/^#"/gm, '"'))
  expect(Object.keys(overrides)).toEqual(Object.keys(ruleDefaults))
  const texts = (rules: ReturnType<typeof buildRules>) =>
    Array.from(rules.values(), ({ name, text }) => [name, text])
  expect(texts(buildRules(ruleDefaults, overrides))).toEqual(texts(buildRules(ruleDefaults)))
  expect(text).toContain('# POST /v2/blocks\n# POST /v2/blocks/{block_id}/children\n')
})

test('check: allowed, and each step to it', async () => {
  const asked = '--roles member,reader --project p1 --target scope.project_id=p1'
  const { text, status } = await melange(`policy check --rule blocks:create ${asked}`)
  expect(status).toBe(0)
  expect(text).toMatch(/^allowed by rule blocks:create\n {2}yes rule:project_member and rule:own_/)
  expect(text).toMatch(/^ +yes role:member$/m)
  expect(text).toMatch(/^ +no {2}role:admin$/m)
})

test.each([
  ['blocks:create --roles member --project p1', 'the target has no scope.project_id'],
  [
    'blocks:get --roles member --project p1 --target project_id=p2',
    'no  project_id:%(project_id)s',
  ],
  ['blocks:get --roles admin --domain d1', 'the token is of domain scope; the rule wants'],
  ['blocks:get --roles admin', 'the token has no scope'],
  ['quotas:update --roles service --project p1', 'no  role:admin'],
])('check: denied: %s', async (asked, reason) => {
  const { text, status } = await melange(`policy check --rule ${asked}`)
  expect(status).toBe(1)
  expect(text).toMatch(/^denied by rule /)
  expect(text).toContain(reason)
})

test('check: asks the file, and of any scope', async () => {
  const netops = 'policy check --rule blocks:delete --roles netops'
  expect((await melange(`${netops} --project p1`, { file })).status).toBe(0)
  expect((await melange(`${netops} --project p1`)).status).toBe(1)
  process.exitCode = 0
  expect((await melange('policy check --rule metrics:get --roles reader --system')).status).toBe(0)
  const shared = '--roles foo --project p1 --target project_id=null'
  expect((await melange(`policy check --rule address_scopes:get ${shared}`)).status).toBe(0)
})

test.each([
  ['--rule block:create', 'there is no rule block:create; blocks:create is meant?'],
  ['--rule blocks:get --project p --domain d', 'a token has one scope'],
])('check: refuses %s', async (asked, message) => {
  await expect(melange(`policy check ${asked}`)).rejects.toThrow(message)
})
