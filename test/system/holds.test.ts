import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest'
import type { Database, OpenDatabase } from '../../src/db/database.ts'
import { sql } from '../../src/db/sql.ts'
import { changeHold, reclaimDue } from '../../src/resources/allocations/hold-store.ts'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Block, Utilisation } from '../../src/resources/blocks/schema.ts'
import type { Policy } from '../../src/resources/policies/schema.ts'
import { Api } from '../helpers/api.ts'
import { type Clock, controlClock } from '../helpers/clock.ts'
import { emptyDatabase } from '../helpers/databases.ts'
import { createDatabase, dropDatabase, withPostgres } from '../helpers/direct-sql.ts'
import { brokenPromises, HoldRace, holdFaults } from '../helpers/hold-race.ts'
import { findContradictions } from '../helpers/independent-checks.ts'
import { waitUntil } from '../helpers/race-load.ts'
import {
  cleanUp,
  type Environment,
  runAudit,
  ServerProcess,
  settingsFile,
  temporaryFolder,
} from '../helpers/server-process.ts'

const onPostgres = describe.skipIf(inject('postgresUrl') === '')

onPostgres('two transactions about one hold', () => {
  const api = new Api()
  let clock: Clock
  let hold: Allocation

  beforeAll(async () => {
    await api.open()
    clock = await controlClock(api.db)
  })
  beforeEach(async () => {
    await emptyDatabase(api.db)
    await clock.advance(3600)
    const block = await api.createBlock('10.0.0.0/29')
    hold = await api.allocateOne(block, { lifetime_seconds: 60, owner_id: 'vm-1' })
  })
  afterAll(() => api.close())

  const due = { blocks_max: 10, at_most: 100 }
  const renewal = () => ({ id: hold.id, lifetime_seconds: 60 })
  const show = async (): Promise<Allocation> => (await api.get(`/v2/allocations/${hold.id}`)).body

  /** A transaction that does its work and stays open until it is told to end. */
  function leaveOpen<T>(db: OpenDatabase, work: (tx: Database) => Promise<T>) {
    let setDone: (result: T) => void
    let letEnd: () => void
    const isDone = new Promise<T>(resolve => {
      setDone = resolve
    })
    const mayEnd = new Promise<void>(resolve => {
      letEnd = resolve
    })
    const ended = db.transaction(async tx => {
      setDone(await work(tx))
      await mayEnd
    })
    const end = () => {
      letEnd()
      return ended
    }
    return { isDone, end }
  }
  /** Waits until somebody waits for a lock of another. */
  const someoneWaits = () =>
    waitUntil('a transaction waits for a lock', async () => {
      const [row] = await api.db.query(sql`
        select count(*)::int as n from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`)
      return (row as { n: number }).n > 0
    })

  test('a sweep that looked before a renewal does not end what was renewed (I6)', async () => {
    await clock.advance(59)
    const renewed = leaveOpen(api.db, tx => changeHold(tx, renewal()))
    const { expires_at } = await renewed.isDone
    await clock.advance(2)
    // The sweep finds the hold due, since it sees it as it was, and waits for the block.
    const sweep = reclaimDue(api.db, due)
    await someoneWaits()
    await renewed.end()
    expect(await sweep).toBe(1)
    expect(await show()).toMatchObject({ ended_at: null, generation: 2, expires_at })
    await clock.advance(60)
    await clock.sweep()
    expect(await show()).toMatchObject({ generation: 3, expires_at })
    expect((await show()).ended_at).not.toBeNull()
  })

  test('a renewal that comes during a sweep waits for it, and is refused', async () => {
    await clock.advance(61)
    const sweep = leaveOpen(api.db, tx => reclaimDue(tx, due))
    expect(await sweep.isDone).toBe(1)
    const renewed = changeHold(api.db, renewal()).catch(error => error.code)
    await someoneWaits()
    await sweep.end()
    expect(await renewed).toBe('hold_expired')
    expect(await show()).toMatchObject({ generation: 2 })
  })

  test('an allocation that cleans up does not end what is renewed meanwhile', async () => {
    await clock.advance(59)
    const renewed = leaveOpen(api.db, tx => changeHold(tx, renewal()))
    await renewed.isDone
    await clock.advance(2)
    const thief = api.ask({ id: hold.block_id }, { address: hold.address, owner_id: 'vm-2' })
    await someoneWaits()
    await renewed.end()
    expect((await thief).body).toMatchObject({ code: 'address_taken' })
    expect(await show()).toMatchObject({ ended_at: null, generation: 2 })
  })

  test('of a release and a renewal the one that comes first counts', async () => {
    const release = leaveOpen(api.db, tx =>
      tx.query(sql`select * from release_allocations(${JSON.stringify([{ id: hold.id }])})`),
    )
    await release.isDone
    const renewed = changeHold(api.db, renewal()).catch(error => error.code)
    await someoneWaits()
    await release.end()
    expect(await renewed).toBe('allocation_ended')
  })
})

describe('a server that starts again', () => {
  afterAll(cleanUp)

  /** Goes on until a condition about an answer is met. */
  const until = <T>(what: string, ask: () => Promise<T>, isRight: (answer: T) => boolean) =>
    waitUntil(what, async () => isRight(await ask()))

  async function survive(env: Environment): Promise<void> {
    let server = await ServerProcess.start(env)
    const post = async <T>(path: string, body: object): Promise<T> => {
      const answer = await server.post<T>(path, body)
      expect([path, answer.status]).toEqual([path, path.endsWith('release') ? 200 : 201])
      return answer.body
    }
    const rules = { quarantine_seconds: 3600 }
    const { id: policy_id } = await post<Policy>('/v2/policies', { name: 'wait', rules })
    const shape = { scope_id: 'public', cidr: '10.0.0.0/28', policy_id }
    const block = await post<Block>('/v2/blocks', shape)
    const take = async (wish: object): Promise<Allocation> => {
      const wanted = { block_id: block.id, project_id: 'p', owner_id: 'vm-1', ...wish }
      const { allocations } = await post<{ allocations: [Allocation] }>('/v2/allocations', wanted)
      return allocations[0]
    }
    const released = await take({})
    await post('/v2/allocations/release', { allocations: [{ id: released.id }] })
    const long = await take({ lifetime_seconds: 3600 })
    const short = await take({ lifetime_seconds: 1 })
    await server.kill9()

    server = await ServerProcess.start(env)
    const show = async <T>(path: string) => (await server.get<T>(path)).body
    const usage = () => show<Utilisation>(`/v2/blocks/${block.id}/utilisation`)
    await until('the short hold has lapsed', usage, ({ held }) => held === '1')
    expect(await usage()).toMatchObject({ held: '1', quarantined: '2', allocated: '0' })
    const ended = await show<Allocation>(`/v2/allocations/${short.id}`)
    expect(String(ended.ended_at) >= String(short.expires_at)).toBe(true)
    expect(await show(`/v2/allocations/${long.id}`)).toEqual(long)
    const restored = await post<Allocation>(`/v2/allocations/${released.id}/restore`, {})
    expect(restored.address).toBe(released.address)
    expect(await usage()).toMatchObject({ held: '1', quarantined: '1', allocated: '1' })
    expect(await server.stop()).toBe(0)
    expect(await runAudit(env)).toMatchObject({ differences: [] })
  }

  test('has all that waits, and ends what lapsed meanwhile (embedded)', async () => {
    const MELANGE_CONFIG = settingsFile({ log_level: 'warn', holds: { sweep_seconds: 0.1 } })
    await survive({ MELANGE_DATA_DIR: temporaryFolder(), MELANGE_CONFIG })
  })

  test.skipIf(inject('postgresUrl') === '')('and so on PostgreSQL', async () => {
    const DATABASE_URL = await createDatabase(inject('postgresUrl'))
    const MELANGE_CONFIG = settingsFile({ log_level: 'warn', holds: { sweep_seconds: 0.1 } })
    try {
      await survive({ DATABASE_URL, MELANGE_CONFIG })
    } finally {
      await cleanUp()
      await dropDatabase(DATABASE_URL)
    }
  })
})

onPostgres('two servers, and holds of a second', () => {
  const clients = 40
  const raceMs = Number(process.env.MELANGE_HOLD_RACE_MS ?? 20_000)
  let database: string
  let env: Record<string, string>
  let servers: ServerProcess[]

  beforeAll(async () => {
    database = await createDatabase(inject('postgresUrl'))
    const settings = { log_level: 'warn', holds: { sweep_seconds: 0.01 } }
    env = { DATABASE_URL: database, MELANGE_CONFIG: settingsFile(settings) }
    servers = await Promise.all([ServerProcess.start(env), ServerProcess.start(env)])
  })
  afterAll(async () => {
    await cleanUp()
    if (database) await dropDatabase(database)
  })

  test('no acknowledged renewal is lost, and no address is given twice (I1, I6)', async () => {
    const [server] = servers as [ServerProcess]
    const rules = { quarantine_seconds: 1 }
    const create = async <T>(path: string, body: object) => {
      const answer = await server.post<T>(path, body)
      expect(answer.status).toBe(201)
      return answer.body
    }
    const policies = [
      await create<Policy>('/v2/policies', { name: 'wait', rules }),
      await create<Policy>('/v2/policies', {
        name: 'early',
        rules: { ...rules, quarantine_reuse: 'when_full' },
      }),
    ]
    const cidrs = ['10.0.0.0/22', '10.0.4.0/26']
    const blocks: string[] = []
    for (const [n, cidr] of cidrs.entries()) {
      const shape = { scope_id: 'public', cidr, policy_id: policies[n]?.id }
      blocks.push((await create<Block>('/v2/blocks', shape)).id)
    }
    const race = new HoldRace(blocks, servers)
    const end = Date.now() + raceMs
    const isOver = () => Date.now() > end
    await Promise.all(Array.from({ length: clients }, (_, n) => race.run(n, isOver)))

    console.info(Object.fromEntries([...race.ledger.outcomes].sort()))
    expect(race.ledger.surprises).toEqual([])
    await withPostgres(database, async query => {
      // The servers go on sweeping: only one snapshot shows events and allocations of one time.
      await query('begin transaction isolation level repeatable read, read only')
      expect(await brokenPromises(query, race)).toEqual([])
      for (const [fault, text] of Object.entries(holdFaults)) {
        expect([fault, await query(text)]).toEqual([fault, []])
      }
      expect(await findContradictions(query)).toEqual([])
      const [seen] = await query(`
        select count(*) filter (where type = 'allocation.expired')::int as expired,
          count(*) filter (where type = 'allocation.renewed')::int as renewed from events`)
      // Else it was no race.
      expect(Number(seen?.expired)).toBeGreaterThan(100)
      expect(Number(seen?.renewed)).toBeGreaterThan(100)
      expect(race.promised.size).toBeGreaterThan(100)
    })
    expect(await runAudit(env)).toMatchObject({ code: 0, differences: [] })
    for (const one of servers) expect(await one.stop()).toBe(0)
    expect(servers.map(({ stdout }) => stdout)).toEqual(['', ''])
  })
})
