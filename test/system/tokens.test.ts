import { afterEach, describe, expect, inject, test } from 'vitest'
import { createDatabase, dropDatabase } from '../helpers/direct-sql.ts'
import { HttpClient } from '../helpers/http-client.ts'
import {
  cleanUp,
  type Environment,
  runMelange,
  ServerProcess,
  temporaryFolder,
} from '../helpers/server-process.ts'

const databases: string[] = []
afterEach(async () => {
  await cleanUp()
  for (const url of databases.splice(0)) await dropDatabase(url)
})

const kinds = inject('postgresUrl') ? (['PGlite', 'PostgreSQL'] as const) : (['PGlite'] as const)

describe.each(kinds)('melange token, on %s', kind => {
  async function newEnvironment(): Promise<Environment> {
    if (kind === 'PGlite') return { MELANGE_DATA_DIR: temporaryFolder() }
    const DATABASE_URL = await createDatabase(inject('postgresUrl'))
    databases.push(DATABASE_URL)
    return { DATABASE_URL }
  }
  const statusOf = async ({ url }: ServerProcess, token: string) => {
    const client = new HttpClient(url, { 'x-auth-token': token })
    try {
      return (await client.request({ method: 'GET', path: '/v2/networks' })).status
    } finally {
      client.close()
    }
  }

  test('makes tokens that work, lists them without secrets, and ends them', async () => {
    const env = await newEnvironment()
    const melange = (line: string) => runMelange(line.split(' '), env)
    const ci = await melange(
      'token create --name ci --project demo --role member --role reader --expires 30d',
    )
    const ops = await melange('token create --name ops --system --role admin')
    expect([ci, ops]).toMatchObject([{ code: 0 }, { code: 0 }])
    const [first, second] = [ci, ops].map(({ stdout }) => stdout.trim()) as [string, string]
    expect([first, second].join()).toMatch(/^melange_[\w-]{43},melange_[\w-]{43}$/)
    expect(ci.stderr).toContain('project demo  member,reader  expires ')

    const listed = await melange('token list')
    const [id = ''] = listed.stdout.split('  ')
    expect(listed.stdout.trim().split('\n')).toHaveLength(2)
    expect(listed.stdout).toContain(`${second.slice(0, 14)}…  system  admin  no end  ops`)
    expect(listed.stdout + ci.stderr + ops.stderr).not.toMatch(/melange_\w{7}/)

    const server = await ServerProcess.start(env)
    expect([await statusOf(server, first), await statusOf(server, second)]).toEqual([200, 200])
    expect(await server.stop()).toBe(0)
    expect(server.stdout).not.toContain(first)

    expect(await melange(`token revoke ${id}`)).toMatchObject({ code: 0, stderr: '' })
    expect((await melange('token list --project demo')).stdout).toBe('')
    const all = await melange('token list --project demo --all')
    expect(all.stdout).toMatch(/demo {2}member,reader {2}revoked 2.* {2}ci\n$/)
    const reset = await melange('reset-admin-token')
    const again = await ServerProcess.start(env)
    const tokens = [first, second, reset.stdout.trim()]
    expect(await Promise.all(tokens.map(token => statusOf(again, token)))).toEqual([401, 200, 200])
    // Its use was written down when the first server ended.
    const { body } = await again.get<{ tokens: { name: string; last_used_at: string | null }[] }>(
      '/v2/tokens?name=ops',
    )
    expect(body.tokens[0]?.last_used_at).toMatch(/:00\.000000Z$/)
  })

  test('says in one line what is wrong', async () => {
    const env = await newEnvironment()
    const line = async (args: string) => {
      const { code, stderr } = await runMelange(args.split(' '), env)
      return [code, stderr.trim()]
    }
    const unknown = '01900000-0000-7000-8000-000000000000'
    expect(await line(`token revoke ${unknown}`)).toEqual([
      2,
      `melange: There is no token ${unknown}.`,
    ])
    expect(await line('token create --name x --role member')).toEqual([
      2,
      'melange: project_id: must be given, or else system_scope, and not both',
    ])
    const [code, text] = await line('token create --name x --system --role admin --expires 3y')
    expect([code, text]).toEqual([1, expect.stringContaining('for instance 30d')])
  })
})
