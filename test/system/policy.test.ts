import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { cleanUp, runMelange, settingsFile, temporaryFolder } from '../helpers/server-process.ts'

afterEach(cleanUp)

/** What the program says with this policy file. */
async function melangePolicy(args: string, text: string) {
  const file = join(temporaryFolder(), 'policy.yaml')
  writeFileSync(file, text)
  const MELANGE_CONFIG = settingsFile({ policy: { file } })
  return { file, ...(await runMelange(['policy', ...args.split(' ')], { MELANGE_CONFIG })) }
}

const deletion = 'check --rule blocks:delete --project p1 --roles'

describe('melange policy', () => {
  test('follows the file that is configured', async () => {
    const file = '"blocks:delete": role:netops\n'
    expect(await melangePolicy(`${deletion} netops`, file)).toMatchObject({
      code: 0,
      stdout: 'allowed by rule blocks:delete\n  yes role:netops\n',
    })
    expect(await melangePolicy(`${deletion} manager`, file)).toMatchObject({
      code: 1,
      stdout: 'denied by rule blocks:delete\n  no  role:netops\n',
    })
    const { stdout } = await melangePolicy('list', file)
    expect(stdout).toMatch(/^blocks:delete +file +role:netops$/m)
  })

  test('says in one line what is wrong with a file', async () => {
    const { file, ...ended } = await melangePolicy('list', '"block:delete": role:netops\n')
    const reason = 'rule block:delete: there is no such rule; blocks:delete is meant?'
    expect(ended).toEqual({ code: 2, stdout: '', stderr: `melange: ${file}: ${reason}\n` })
  })

  test('its sample is a file that changes nothing', async () => {
    const sample = await melangePolicy('sample', '{}')
    const listed = await melangePolicy('list', sample.stdout)
    expect(listed).toMatchObject({ code: 0, stderr: '' })
    expect(listed.stdout).toBe((await melangePolicy('list', '{}')).stdout)
  })
})
