import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import { createDatabase, dropDatabase, withPostgres } from '../helpers/direct-sql.ts'
import type { Answer, Problem } from '../helpers/http-client.ts'
import { countProjects, findMiscounts, findOverruns } from '../helpers/quota-checks.ts'
import { Random } from '../helpers/random.ts'
import { cleanUp, runAudit, ServerProcess, settingsFile } from '../helpers/server-process.ts'

const rounds = Number(process.env.MELANGE_RACE_ROUNDS ?? 20)
const seed = Number(process.env.MELANGE_RACE_SEED ?? 50)
const many = 200
const most = 50

describe.skipIf(inject('postgresUrl') === '')('two servers and one quota (I7)', () => {
  let database: string
  let servers: ServerProcess[]
  let env: Record<string, string>
  let requests = 0

  beforeAll(async () => {
    database = await createDatabase(inject('postgresUrl'))
    env = { DATABASE_URL: database, MELANGE_CONFIG: settingsFile({ log_level: 'warn' }) }
    servers = await Promise.all([ServerProcess.start(env), ServerProcess.start(env)])
  })
  afterAll(async () => {
    await cleanUp()
    if (database) await dropDatabase(database)
  })

  /** Asks the servers by turns. */
  const send = <T>(method: string, path: string, body?: object): Promise<Answer<T & Problem>> => {
    const server = servers[requests++ % servers.length]
    if (!server) throw new Error('there is no server')
    return server.request<T & Problem>(method, path, body)
  }
  const done = async <T>(answer: Promise<Answer<T & Problem>>): Promise<T> => {
    const { status, body } = await answer
    if (status >= 300) throw new Error(`${status} ${JSON.stringify(body)}`)
    return body
  }
  const limit = (project: string, limits: object) =>
    done(send('PUT', `/v2/quotas/${project}`, limits))
  const createScope = (name: string) =>
    done(send<{ id: string }>('POST', '/v2/address-scopes', { project_id: 'lab', name }))
  const createBlock = (cidr: string, scope_id = 'public', more: object = {}) =>
    done(send<Block>('POST', '/v2/blocks', { scope_id, cidr, ...more }))
  const ask = (block: Block, wish: object) =>
    send<{ allocations: Allocation[] }>('POST', '/v2/allocations', { block_id: block.id, ...wish })
  const parallel = <T>(count: number, work: (n: number) => Promise<T>) =>
    Promise.all(Array.from({ length: count }, (_, n) => work(n)))
  /** How much was given; whoever was given nothing was told that the quota is the reason. */
  const givenTo = (answers: readonly Answer<{ allocations: Allocation[] } & Problem>[]) => {
    const refused = answers.filter(({ status }) => status !== 201)
    expect(new Set(refused.map(({ body }) => body.code))).toEqual(new Set(['quota_exceeded']))
    for (const { body } of refused) expect(body.detail).toMatch(/ has \d+ of \d+ .* asked for \d+ /)
    return answers.flatMap(({ body }) => body.allocations ?? [])
  }
  const pickOf = <T>(values: readonly T[], n: number): T => values[n % values.length] as T
  const expectTrueCounts = () =>
    withPostgres(database, async query => {
      expect(await findOverruns(query)).toEqual([])
      expect(await findMiscounts(query)).toEqual([])
    })
  const countOf = (project: string) =>
    withPostgres(database, async query => (await countProjects(query)).get(`${project} in all`))

  test(`${many} parallel requests against ${most} give exactly ${most}`, async () => {
    const { id: scope_id } = await createScope('single')
    const strategies = ['sequential', 'random', 'least_recently_used']
    for (let round = 0; round < rounds; round++) {
      const project_id = `single-${round}`
      // A limit of its own, one of everybody, one in the scope: each holds as well.
      if (round % 3 === 0) await limit(project_id, { allocations: most })
      else if (round % 3 === 1) await limit('default', { allocations: most })
      else await limit(project_id, { scope_id, allocations: most })
      const blocks: Block[] = []
      for (let n = 0; n <= round % 4; n++) {
        const strategy = strategies[(round + n) % 3]
        blocks.push(await createBlock(`10.${round}.${n}.0/24`, scope_id, { strategy }))
      }
      const answers = await parallel(many, n => ask(pickOf(blocks, n), { project_id }))
      expect(givenTo(answers)).toHaveLength(most)
      expect(await countOf(project_id)).toMatchObject({ allocations: BigInt(most) })
      if (round % 3 === 1) await limit('default', { allocations: null })
    }
    await expectTrueCounts()
  })

  test.each<{ kind: string; wishes: readonly object[] }>([
    { kind: 'one and three', wishes: [{}, { count: 3 }, {}, { count: 3, contiguous: true }] },
    { kind: 'holds and addresses', wishes: [{ lifetime_seconds: 3600 }, {}] },
    { kind: 'prefixes and addresses', wishes: [{ prefix_length: 30 }, {}, { count: 2 }] },
  ])('$kind: as many as there are one by one', async ({ kind, wishes }) => {
    const { id: scope_id } = await createScope(kind)
    for (let round = 0; round < rounds / 4; round++) {
      const blocks = await parallel(3, n => createBlock(`10.${round}.${n * 4}.0/22`, scope_id))
      const projects = [`${kind} a ${round}`, `${kind} b ${round}`]
      for (const project of projects) await limit(project, { allocations: most })
      const answers = await parallel(2 * many, n =>
        ask(pickOf(blocks, n), { ...pickOf(wishes, n >> 1), project_id: pickOf(projects, n) }),
      )
      expect(givenTo(answers)).toHaveLength(2 * most)
      for (const project of projects) {
        expect(await countOf(project)).toMatchObject({ allocations: BigInt(most) })
      }
    }
    await expectTrueCounts()
  })

  test('IPv6 /64s: as many prefixes as they come to', async () => {
    const { id: scope_id } = await createScope('prefixes')
    for (let round = 0; round < rounds / 4; round++) {
      const blocks = await parallel(2, n => createBlock(`2001:db8:${2 * round + n}::/48`, scope_id))
      const project_id = `prefixes ${round}`
      await limit(project_id, { ipv6_64s: most * 16 })
      const answers = await parallel(many, n =>
        ask(pickOf(blocks, n), { project_id, prefix_length: n % 4 === 3 ? 58 : 60 }),
      )
      givenTo(answers)
      // A /60 is 16 of them, and fits while there is room for any.
      expect(await countOf(project_id)).toMatchObject({ ipv6_64s: BigInt(most * 16) })
    }
    await expectTrueCounts()
  })

  test('blocks in several address scopes, each with a lock of its own', async () => {
    for (let round = 0; round < rounds / 5; round++) {
      const scopes = await parallel(4, n => createScope(`blocks ${round} ${n}`))
      const project_id = `blocks ${round}`
      await limit(project_id, { blocks: most })
      const parents = await parallel(4, n => createBlock('10.0.0.0/8', pickOf(scopes, n).id))
      const answers = await parallel(many / 2, n => {
        const shape = { prefix_length: 24, count: 1 + (n % 2), project_id }
        return send('POST', `/v2/blocks/${pickOf(parents, n >> 1).id}/children`, shape)
      })
      const refused = answers.filter(({ status }) => status !== 201)
      expect(new Set(refused.map(({ body }) => body.code))).toEqual(new Set(['quota_exceeded']))
      expect(await countOf(project_id)).toMatchObject({ blocks: BigInt(most) })
    }
    await expectTrueCounts()
  })

  test('releases make room, holds lapse, and limits change while all goes on', async () => {
    const scopes = ['public', (await createScope('storm')).id]
    const v4 = await parallel(4, n => createBlock(`10.${n}.0.0/20`, pickOf(scopes, n)))
    const v6 = await parallel(2, n => createBlock('2001:db8:ff00::/40', pickOf(scopes, n)))
    const projects = ['storm a', 'storm b', 'storm c']
    await limit('storm a', { allocations: most, ipv6_64s: 256 })
    await limit('storm b', { allocations: most })
    await limit('default', { allocations: most, scope_id: scopes[1] })
    const refusals = new Set<string>()
    const client = async (n: number) => {
      const random = new Random(seed + n)
      const held: Allocation[] = []
      for (let step = 0; step < 3 * rounds; step++) {
        const project_id = pickOf(projects, random.below(3))
        const wish = random.weighted(wishes)
        const block = pickOf('prefix_length' in wish.body ? v6 : v4, random.below(4))
        const { status, body } = await ask(block, { ...wish.body, project_id })
        if (status === 201) held.push(...body.allocations)
        else refusals.add(`${status} ${body.code}`)
        for (const { id } of held.splice(0, random.below(held.length > 4 ? 4 : 2))) {
          const released = await send('DELETE', `/v2/allocations/${id}`)
          if (released.status !== 200) refusals.add(`release: ${released.status}`)
        }
      }
    }
    let isOver = false
    const change = async () => {
      const random = new Random(seed)
      while (!isOver) {
        const allocations = random.below(4) === 0 ? null : random.between(10, 2 * most)
        const project = pickOf([...projects, 'default'], random.below(4))
        if (random.below(8) === 0) await send('DELETE', `/v2/quotas/${project}`)
        else if (random.below(3) === 0) {
          await limit(project, { scope_id: pickOf(scopes, random.below(2)), allocations })
        } else await limit(project, { allocations, ipv6_64s: random.between(16, 512) })
      }
    }
    const changing = change()
    await parallel(48, client)
    isOver = true
    await changing
    expect([...refusals]).toEqual(['409 quota_exceeded'])
    await expectTrueCounts()

    // Nothing of what they may have is lost to them, either.
    for (const project of [...projects, 'default']) {
      for (const scope_id of [undefined, ...scopes]) {
        await limit(project, { scope_id, allocations: null, ipv6_64s: null })
      }
    }
    for (const project_id of projects) {
      const before = Number((await countOf(project_id))?.allocations ?? 0n)
      await limit(project_id, { allocations: before + 7 })
      const answers = await parallel(20, n => ask(pickOf(v4, n), { project_id }))
      const given = answers.flatMap(({ body }) => body.allocations ?? [])
      // Or more, as holds may lapse meanwhile.
      expect(given.length).toBeGreaterThanOrEqual(7)
    }
    await expectTrueCounts()
  })

  test.each([
    { what: 'whoever allocates', statement: 'select allocate_addresses($1::jsonb)' },
    { what: 'the background', statement: 'select reclaim(100, 1000) where $1::jsonb is not null' },
  ])(
    '$what locks the counts in one order, also where holds have lapsed',
    async ({ what, statement }) => {
      const { id: scope_id } = await createScope(what)
      const blocks = await parallel(2, n => createBlock(`172.16.${n}.0/24`, scope_id))
      // Of the first block a hold of the last project has lapsed, and the other way round.
      const [first, last] = ['order a', 'order z']
      for (const [n, { id }] of blocks.toSorted((a, b) => (a.id < b.id ? -1 : 1)).entries()) {
        const hold = { project_id: n === 0 ? last : first, lifetime_seconds: 3600 }
        expect((await ask({ id } as Block, hold)).status).toBe(201)
      }
      const batch = blocks.map(({ id }, request) => {
        return { request, block_id: id, ids: [randomUUID()], project_id: first, name: '', tags: [] }
      })
      await withPostgres(database, one =>
        withPostgres(database, async other => {
          const lapse = 'update allocations set expires_at = started_at where scope_id = $1'
          await one(lapse, [scope_id])
          const [client] = await one('select pg_backend_pid() as pid')
          const lock = 'select lock_project_usage(array[$1], array[$2::uuid])'
          await other('begin')
          await other(lock, [first, scope_id])
          const work = one(statement, [JSON.stringify(batch)])
          const isWaiting = 'select from pg_locks where pid = $1 and not granted'
          while ((await other(isWaiting, [client?.pid])).length === 0);
          // It waits for the first, and so it must not have locked the last.
          await other(`set lock_timeout = '500ms'`)
          await other(lock, [last, scope_id])
          await other('commit')
          await work
        }),
      )
      await expectTrueCounts()
    },
  )

  test('nobody waited for a deadlock to be broken, and the audit agrees', async () => {
    const { differences } = await runAudit(env)
    expect(differences.filter(({ check }) => check.startsWith('I7'))).toEqual([])
    for (const server of servers) expect(await server.stop()).toBe(0)
    const found = await withPostgres(database, query =>
      query('select deadlocks from pg_stat_database where datname = current_database()'),
    )
    expect(found).toEqual([{ deadlocks: '0' }])
  })
})

/** What clients ask for, and how often. */
const wishes = [
  { weight: 8, body: {} },
  { weight: 3, body: { count: 3 } },
  { weight: 3, body: { lifetime_seconds: 1 } },
  { weight: 2, body: { prefix_length: 60 } },
  { weight: 1, body: { prefix_length: 80 } },
]
