import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import type { FloatingIp } from '../../src/resources/floating-ips/schema.ts'
import { createDatabase, dropDatabase, withPostgres } from '../helpers/direct-sql.ts'
import { findFloatingContradictions } from '../helpers/floating-checks.ts'
import type { Answer, Problem } from '../helpers/http-client.ts'
import { findContradictions } from '../helpers/independent-checks.ts'
import { Random } from '../helpers/random.ts'
import { cleanUp, runAudit, ServerProcess, settingsFile } from '../helpers/server-process.ts'

const rounds = Number(process.env.MELANGE_RACE_ROUNDS ?? 20)
const seed = Number(process.env.MELANGE_RACE_SEED ?? 13)
const clients = 50
const targets = 6

describe.skipIf(inject('postgresUrl') === '')('two servers and one floating IP (I14)', () => {
  let database: string
  let servers: ServerProcess[]
  let env: Record<string, string>
  let requests = 0
  let outside: Block
  let insides: Block[]
  const outcomes = new Map<string, number>()

  /** Asks the servers by turns. */
  const send = <T>(
    method: string,
    path: string,
    body?: object,
    headers: Record<string, string> = {},
  ): Promise<Answer<T & Problem>> => {
    const server = servers[requests++ % servers.length]
    if (!server) throw new Error('there is no server')
    return server.request<T & Problem>(method, path, body, headers)
  }
  const done = async <T>(answer: Promise<Answer<T & Problem>>): Promise<T> => {
    const { status, body } = await answer
    if (status >= 300) throw new Error(`${status} ${JSON.stringify(body)}`)
    return body
  }
  const allocate = async (block: Block, more: object = {}): Promise<Allocation> => {
    const request = { block_id: block.id, project_id: 'lab', ...more }
    const { allocations } = await done(
      send<{ allocations: Allocation[] }>('POST', '/v2/allocations', request),
    )
    return allocations[0] as Allocation
  }
  const create = (request: object) =>
    send<FloatingIp>('POST', '/v2/floating-ips', { project_id: 'lab', ...request })
  const pathOf = (id: string) => `/v2/floating-ips/${id}`

  beforeAll(async () => {
    database = await createDatabase(inject('postgresUrl'))
    env = { DATABASE_URL: database, MELANGE_CONFIG: settingsFile({ log_level: 'warn' }) }
    servers = await Promise.all([ServerProcess.start(env), ServerProcess.start(env)])
    const { id: scope_id } = await done(
      send<{ id: string }>('POST', '/v2/address-scopes', { project_id: 'lab', name: 'inside' }),
    )
    const createBlock = (body: object) => done(send<Block>('POST', '/v2/blocks', body))
    // Blocks before and behind that of the floating IP, so that the order of locks matters.
    const before = await createBlock({ scope_id, cidr: '10.0.0.0/16' })
    outside = await createBlock({ scope_id: 'public', cidr: '192.0.2.0/24' })
    insides = [before, await createBlock({ scope_id, cidr: '10.1.0.0/16' })]
  })
  afterAll(async () => {
    await cleanUp()
    if (database) await dropDatabase(database)
  })

  const newTarget = (n: number) =>
    allocate(insides[n % insides.length] as Block, n % 3 === 0 ? { lifetime_seconds: 1 } : {})

  test('a move has no instant without a holder', async () => {
    const places = await Promise.all(
      Array.from({ length: targets }, (_, n) => allocate(insides[n % 2] as Block)),
    )
    const ids = places.map(({ id }) => id)
    const made = await done(create({ block_id: outside.id, private_allocation_id: ids[0] }))
    let isOver = false
    const watch = withPostgres(database, async query => {
      const seen = new Set<unknown>()
      while (!isOver) {
        const [row] = await query(
          `select f.private_allocation_id, count(s.id)::int as held
          from floating_ips f left join floating_ip_associations s
            on s.floating_ip_id = f.id and s.ended_at is null
              and s.private_allocation_id = f.private_allocation_id
          where f.id = $1 group by f.id`,
          [made.id],
        )
        seen.add(row?.private_allocation_id)
        expect(row?.held).toBe(1)
      }
      return seen
    })
    const random = new Random(seed)
    const answers = await Promise.all(
      Array.from({ length: clients }, async () => {
        const own: Answer<FloatingIp>[] = []
        for (let n = 0; n < rounds / 2; n++) {
          const private_allocation_id = random.pick(ids)
          own.push(await send<FloatingIp>('PATCH', pathOf(made.id), { private_allocation_id }))
        }
        return own
      }),
    )
    isOver = true
    const seen = await watch
    expect(seen.size).toBeGreaterThan(1)
    expect([...seen].every(id => ids.includes(String(id)))).toBe(true)
    expect(new Set(answers.flat().map(({ status }) => status))).toEqual(new Set([200]))
    const generations = answers.flat().map(({ body }) => body.generation)
    expect(new Set(generations).size).toBe(generations.length)
    await withPostgres(database, async query => {
      const gaps = await query(`
        select started_at, before from (
          select started_at, lag(ended_at) over (order by started_at) as before
          from floating_ip_associations where floating_ip_id = '${made.id}') s
        where before is distinct from started_at`)
      expect(gaps).toEqual([{ started_at: expect.any(Date), before: null }])
      expect(await findFloatingContradictions(query)).toEqual([])
    })
    await done(send('DELETE', pathOf(made.id)))
  })

  test(`${clients} clients associate, move, disassociate and release it`, async () => {
    const random = new Random(seed)
    const id = randomUUID()
    const rival = randomUUID()
    const places = await Promise.all(Array.from({ length: targets }, (_, n) => newTarget(n)))
    const faults: string[] = []

    const pick = () => random.pick(places) as Allocation
    type Move = { weight: number; what: string; may: string[]; ask: () => Promise<Answer<Problem>> }
    const unfit = ['private_allocation_associated', 'allocation_ended', 'hold_expired']
    const gone = ['floating_ip_not_found']
    const point = (one: string, to: string | null, headers = {}) =>
      send('PATCH', pathOf(one), { private_allocation_id: to }, headers)
    const moves: readonly Move[] = [
      { weight: 8, what: 'point', may: [...gone, ...unfit], ask: () => point(id, pick().id) },
      { weight: 5, what: 'rival', may: [...gone, ...unfit], ask: () => point(rival, pick().id) },
      { weight: 3, what: 'off', may: gone, ask: () => point(id, null) },
      { weight: 1, what: 'rival off', may: gone, ask: () => point(rival, null) },
      {
        weight: 3,
        what: 'if',
        may: [...gone, ...unfit, 'precondition_failed'],
        ask: async () => {
          const { headers } = await send('GET', pathOf(id))
          return point(id, pick().id, headers.etag ? { 'if-match': headers.etag } : {})
        },
      },
      { weight: 2, what: 'release', may: gone, ask: () => send('DELETE', pathOf(id)) },
      {
        weight: 1,
        what: 'release of the allocation',
        may: ['allocation_not_found'],
        ask: async () => {
          const { body } = await send<FloatingIp>('GET', pathOf(random.pick([id, rival]) ?? id))
          return send('DELETE', `/v2/allocations/${body.allocation_id ?? randomUUID()}`)
        },
      },
      {
        weight: 2,
        what: 'end of a target',
        may: [],
        ask: async () => {
          const n = random.below(places.length)
          const ended = await send('DELETE', `/v2/allocations/${places[n]?.id}`)
          places[n] = await newTarget(n)
          return ended
        },
      },
      {
        weight: 4,
        what: 'change of a target',
        may: ['allocation_not_found'],
        ask: () => send('PATCH', `/v2/allocations/${pick().id}`, { name: 'changed' }),
      },
      {
        weight: 4,
        what: 'map',
        may: ['nat_mapping_exists', 'allocation_not_found', 'allocation_ended', 'hold_expired'],
        ask: async () => {
          const { body } = await send<FloatingIp>('GET', pathOf(random.pick([id, rival]) ?? id))
          const inside_global_id = body.allocation_id ?? randomUUID()
          return send('POST', '/v2/nat-mappings', { inside_local_id: pick().id, inside_global_id })
        },
      },
      {
        weight: 1,
        what: 'unmap',
        may: ['nat_mapping_not_found'],
        ask: async () => {
          const { body } = await send<{ nat_mappings: { id: string }[] }>('GET', '/v2/nat-mappings')
          return send('DELETE', `/v2/nat-mappings/${random.pick(body.nat_mappings)?.id ?? id}`)
        },
      },
      {
        weight: 6,
        what: 'create',
        may: ['floating_ip_exists', 'address_taken', ...unfit],
        ask: () => {
          const one = random.pick([
            { id, address: '192.0.2.10' },
            { id: rival, block_id: outside.id },
          ])
          const to = random.below(2) ? { private_allocation_id: pick().id } : {}
          return create({ ...one, ...to })
        },
      },
    ]
    for (let round = 0; round < rounds; round++) {
      await Promise.all(
        Array.from({ length: clients }, async () => {
          const { what, may, ask } = random.weighted(moves)
          const { status, body } = await ask()
          const outcome = `${what}: ${status < 300 ? 'done' : body.code}`
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
          if (status >= 300 && !may.includes(body.code)) {
            faults.push(`${what}: ${status} ${JSON.stringify(body)}`)
          }
        }),
      )
    }
    console.info(Object.fromEntries([...outcomes].sort()))
    expect(faults.slice(0, 10)).toEqual([])
    for (const { what } of moves)
      expect([what, outcomes.has(`${what}: done`)]).toEqual([what, true])
    await withPostgres(database, async query => {
      expect(await findFloatingContradictions(query)).toEqual([])
      expect(await findContradictions(query)).toEqual([])
    })
    expect(await runAudit(env)).toMatchObject({ code: 0, differences: [] })
  })

  test('nobody waited for a deadlock to be broken', async () => {
    for (const server of servers) expect(await server.stop()).toBe(0)
    expect(servers.map(({ stdout }) => stdout)).toEqual(['', ''])
    const found = await withPostgres(database, query =>
      query('select deadlocks from pg_stat_database where datname = current_database()'),
    )
    expect(found).toEqual([{ deadlocks: '0' }])
  })
})
