import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { failToServe } from '../helpers/failed-start.ts'
import {
  adminToken,
  cleanUp,
  runMelange,
  ServerProcess,
  settingsFile,
  temporaryFolder,
} from '../helpers/server-process.ts'

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

describe('melange serve', () => {
  const path = '/v1.0/ipam/mac_address_ranges'

  test('follows the file while it runs, and keeps the rules while the file is broken', async () => {
    const file = join(temporaryFolder(), 'policy.yaml')
    writeFileSync(file, '{}')
    const server = await ServerProcess.start({ MELANGE_CONFIG: settingsFile({ policy: { file } }) })
    const status = async () =>
      (await fetch(`${server.url}${path}`, { headers: { 'x-auth-token': adminToken } })).status
    const becomes = (wanted: number) => expect.poll(status, { timeout: 10_000 }).toBe(wanted)
    await becomes(200)
    writeFileSync(file, '"melange_v1:global": "!"\n')
    await becomes(403)
    writeFileSync(file, '"melange_v1:global": "@" and\n')
    await expect
      .poll(
        async () => {
          await status()
          return server.stdout
        },
        { timeout: 10_000 },
      )
      .toContain('the policy file is refused')
    expect(await status()).toBe(403)
    writeFileSync(file, '{}')
    await becomes(200)
    expect(server.stdout).toContain('other rules are in effect')
    expect(await server.stop()).toBe(0)
  })

  test('does not start with a file that is broken', async () => {
    const file = join(temporaryFolder(), 'policy.yaml')
    writeFileSync(file, '"block:delete": "!"\n')
    const MELANGE_CONFIG = settingsFile({ policy: { file } })
    expect(await failToServe({ MELANGE_CONFIG })).toContain('blocks:delete is meant?')
  })
})
