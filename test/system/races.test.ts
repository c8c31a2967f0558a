import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import { createDatabase, dropDatabase, withPostgres } from '../helpers/direct-sql.ts'
import { followEvents } from '../helpers/event-follower.ts'
import type { Problem } from '../helpers/http-client.ts'
import { findContradictions } from '../helpers/independent-checks.ts'
import { Ledger } from '../helpers/ledger.ts'
import { compareWithLedger } from '../helpers/ledger-checks.ts'
import { RaceClient } from '../helpers/race-client.ts'
import { createWorld } from '../helpers/race-world.ts'
import { cleanUp, runAudit, ServerProcess, settingsFile } from '../helpers/server-process.ts'

/** Things that each client does: about a minute in all on two cores, unless more is wanted. */
const rounds = Number(process.env.MELANGE_RACE_ROUNDS ?? 800)
const timeout = Math.max(300_000, rounds * 1000)
const clients = 64
const seed = Number(process.env.MELANGE_RACE_SEED ?? 2519)

describe.skipIf(inject('postgresUrl') === '')('two servers on one database', () => {
  let database: string
  let servers: ServerProcess[]
  let env: Record<string, string>

  beforeAll(async () => {
    database = await createDatabase(inject('postgresUrl'))
    env = { DATABASE_URL: database, MELANGE_CONFIG: settingsFile({ log_level: 'warn' }) }
    // Both migrate the empty database at the same time.
    servers = await Promise.all([ServerProcess.start(env), ServerProcess.start(env)])
  })
  afterAll(async () => {
    await cleanUp()
    if (database) await dropDatabase(database)
  })

  const serverOf = (n: number): ServerProcess => {
    const server = servers[n % servers.length]
    if (!server) throw new Error('there is no server')
    return server
  }
  const create = async (shape: object): Promise<Block> => {
    const { status, body } = await serverOf(0).post<Block>('/v2/blocks', shape)
    expect(status).toBe(201)
    return body
  }
  const allocate = (n: number, block: Block, wish: object = {}) =>
    serverOf(n).post<{ allocations: Allocation[] } & Problem>('/v2/allocations', {
      block_id: block.id,
      project_id: 'p',
      ...wish,
    })

  test('64 clients who do everything at once are told the truth (I1-I5, I9, I11)', {
    timeout,
  }, async () => {
    const world = await createWorld(serverOf(0))
    const ledger = new Ledger()
    const weather = { mayLoseAnswers: false, mayLackDatabase: false }
    const followers = servers.map(followEvents)
    const race = Array.from({ length: clients }, async (_, n) => {
      let requests = n
      const server = () => serverOf(requests++)
      const name = `client-${n}`
      const client = new RaceClient({ name, seed: seed + n, world, ledger, weather, server })
      for (let round = 0; round < rounds; round++) await client.step()
    })
    await Promise.all(race)

    console.info(Object.fromEntries([...ledger.outcomes].sort()))
    expect(ledger.surprises).toEqual([])
    const [one, other] = await Promise.all(followers.map(follower => follower.finish()))
    await withPostgres(database, async query => {
      expect(await findContradictions(query)).toEqual([])
      expect(await compareWithLedger(query, ledger)).toEqual([])
      const stored = await query(`
        select seq::text as cursor, type, object_id, (data ->> 'generation')::int as generation
        from events order by seq`)
      for (const follower of [one, other]) {
        expect(follower?.faults).toEqual([])
        const seen = follower?.seen.map(({ cursor, type, object_id, data: { generation } }) => {
          return { cursor, type, object_id, generation }
        })
        // Only the first difference: a diff of all events would take minutes.
        const at = stored.findIndex((row, n) => JSON.stringify(row) !== JSON.stringify(seen?.[n]))
        expect({ at, event: seen?.[at] }).toEqual({ at: -1, event: undefined })
        expect(seen).toHaveLength(stored.length)
      }
    })
    expect(await runAudit(env)).toMatchObject({ code: 0, differences: [] })
  })

  test('16 parallel calls for the next address get 16 (I11; netbox issue 2519)', async () => {
    for (let round = 0; round < 60; round++) {
      const block = await create({ scope_id: 'public', cidr: `10.0.${round}.0/24` })
      const answers = await Promise.all(Array.from({ length: 16 }, (_, n) => allocate(n, block)))
      expect(answers.map(({ status }) => status)).toEqual(Array(16).fill(201))
      const given = answers.flatMap(({ body }) => body.allocations.map(({ address }) => address))
      const lowest = Array.from({ length: 16 }, (_, n) => `10.0.${round}.${n + 1}`)
      expect(given.sort()).toEqual(lowest.sort())
    }
    await withPostgres(database, async query => {
      expect(await findContradictions(query)).toEqual([])
    })
  })

  test('64 concurrent blocks that overlap end in exactly one (I2)', async () => {
    for (let round = 0; round < 12; round++) {
      // All of them hold 172.16.<round>.0, from a /24 up to a /31.
      const cidrs = Array.from({ length: 64 }, (_, n) => `172.16.${round}.0/${24 + (n % 8)}`)
      const answers = await Promise.all(
        cidrs.map((cidr, n) =>
          serverOf(n).post<Block & Problem>('/v2/blocks', { scope_id: 'public', cidr }),
        ),
      )
      const made = answers.filter(({ status }) => status === 201)
      const refused = answers.filter(({ status }) => status !== 201)
      expect(made).toHaveLength(1)
      expect(new Set(refused.map(({ body }) => body.code))).toEqual(new Set(['block_overlaps']))
      expect(refused.every(({ body }) => body.conflicts?.[0]?.id === made[0]?.body.id)).toBe(true)
      const { body } = await serverOf(round).get<{ blocks: Block[] }>(
        `/v2/blocks?scope_id=public&overlaps=172.16.${round}.0/24`,
      )
      expect(body.blocks.map(({ id }) => id)).toEqual([made[0]?.body.id])
    }
  })

  test('64 clients cut exactly as many children as there is room for', async () => {
    const parent = await create({ scope_id: 'public', cidr: '172.17.0.0/23' })
    const answers = await Promise.all(
      Array.from({ length: 64 }, (_, n) =>
        serverOf(n).post<{ blocks: Block[] } & Problem>(`/v2/blocks/${parent.id}/children`, {
          prefix_length: 28,
        }),
      ),
    )
    const cut = answers.flatMap(({ body }) => body.blocks?.map(({ cidr }) => cidr) ?? [])
    expect(new Set(cut).size).toBe(32)
    const refused = answers.filter(({ status }) => status !== 201)
    expect(refused.map(({ body }) => body.code)).toEqual(Array(32).fill('no_free_prefix'))
  })

  test.each([
    { strategy: 'sequential', cidr: '192.0.2.0/24' },
    { strategy: 'random', cidr: '198.51.100.0/24' },
    { strategy: 'least_recently_used', cidr: '203.0.113.0/24' },
    { strategy: 'sequential', cidr: '2001:db8::/120' },
  ])('64 clients get each address of $cidr once ($strategy), then a clean "full"', async shape => {
    const gateway_ip = shape.cidr.replace(/0?\/.*/, '1')
    const block = await create({ scope_id: 'public', gateway_ip, ...shape })
    const given: string[] = []
    const refusals: string[] = []
    const fill = async (_: unknown, n: number) => {
      for (let turn = n; ; turn++) {
        // An address that is wished for may be taken; the next one is as good.
        const wish = turn % 3 === 0 ? { address: gateway_ip, fallback: 'next' } : {}
        const { status, body } = await allocate(turn, block, wish)
        if (status !== 201) return refusals.push(`${status} ${body.code}`)
        given.push(...body.allocations.map(({ address }) => address))
      }
    }
    await Promise.all(Array.from({ length: clients }, fill))
    // Network, broadcast (IPv4 only) and gateway are kept back.
    const size = block.version === 4 ? 253 : 254
    expect(given).toHaveLength(size)
    expect(new Set(given).size).toBe(size)
    expect(refusals).toEqual(Array(clients).fill('409 block_full'))
    expect((await serverOf(0).get(`/v2/blocks/${block.id}/utilisation`)).body).toMatchObject({
      total: '256',
      allocated: String(size),
      free: '0',
    })
  })

  test('and the audit agrees with all of it', async () => {
    expect(await runAudit(env)).toMatchObject({ code: 0, differences: [] })
    for (const server of servers) expect(await server.stop()).toBe(0)
    expect(servers.map(({ stdout }) => stdout)).toEqual(['', ''])
  })
})
