import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { AddressScope } from '../../src/resources/address-scopes/schema.ts'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import { createDatabase, dropDatabase, type Query, withPostgres } from '../helpers/direct-sql.ts'
import { type Answer, HttpClient, NoAnswer } from '../helpers/http-client.ts'
import { findContradictions } from '../helpers/independent-checks.ts'
import { waitUntil } from '../helpers/race-load.ts'
import {
  adminToken,
  cleanUp,
  runAudit,
  ServerProcess,
  settingsFile,
} from '../helpers/server-process.ts'
import { SwallowingProxy } from '../helpers/swallowing-proxy.ts'

type Write = { readonly method: string; readonly path: string; readonly body?: object }
type Body = Block & Allocation & { blocks: Block[]; allocations: Allocation[] }

describe.skipIf(inject('postgresUrl') === '')('two servers on one database', () => {
  let database: string
  let env: Record<string, string>
  let servers: ServerProcess[]
  let clients: HttpClient[]

  beforeAll(async () => {
    database = await createDatabase(inject('postgresUrl'))
    env = { DATABASE_URL: database, MELANGE_CONFIG: settingsFile({ log_level: 'warn' }) }
    servers = await Promise.all([ServerProcess.start(env), ServerProcess.start(env)])
    clients = servers.map(({ url }) => new HttpClient(url, { 'x-auth-token': adminToken }))
  })
  afterAll(async () => {
    for (const client of clients ?? []) client.close()
    await cleanUp()
    if (database) await dropDatabase(database)
  })

  const serverAt = (n: number) => servers[n % servers.length] as ServerProcess
  const send = (n: number, write: Write, key: string) =>
    (clients[n % clients.length] as HttpClient).request<Body>({
      ...write,
      headers: { 'idempotency-key': key },
    })
  const made = async <T>(path: string, body: object): Promise<T> => {
    const answer = await serverAt(0).post<T>(path, body)
    expect(answer.status).toBe(201)
    return answer.body
  }
  const newBlock = (cidr: string) => made<Block>('/v2/blocks', { scope_id: 'public', cidr })
  const isReplayed = ({ headers }: Answer<unknown>) => headers['idempotency-replayed'] === 'true'

  /** Sends a write through a proxy that answers nothing; `lost` ends when the proxy is cut. */
  async function sendIntoVoid(write: Write, key: string) {
    const proxy = await SwallowingProxy.start(serverAt(0).url)
    const client = new HttpClient(proxy.url, { 'x-auth-token': adminToken }, { keepAlive: false })
    const lost = client
      .request({ ...write, headers: { 'idempotency-key': key } })
      .then(answer => {
        throw new Error(`an answer came through: ${answer.status}`)
      })
      .catch((error: unknown) => {
        if (error instanceof NoAnswer && !error.hadBegun) return
        throw error
      })
    return { proxy, lost }
  }

  const committed = async (query: Query, key: string) =>
    (await query('select from idempotency_keys where key = $1', [key])).length === 1
  const eventCount = async (query: Query) =>
    (await query('select count(*)::int as n from events'))[0]?.n

  const writes: [string, (n: number) => Promise<Write>][] = [
    [
      'POST /v2/address-scopes',
      async n => ({
        method: 'POST',
        path: '/v2/address-scopes',
        body: { project_id: 'p', name: `lost-${n}` },
      }),
    ],
    [
      'DELETE /v2/address-scopes/{id}',
      async n => {
        const body = { project_id: 'p', name: `lost-${n}` }
        const { id } = await made<AddressScope>('/v2/address-scopes', body)
        return { method: 'DELETE', path: `/v2/address-scopes/${id}` }
      },
    ],
    [
      'POST /v2/blocks',
      async n => ({
        method: 'POST',
        path: '/v2/blocks',
        body: { scope_id: 'public', cidr: `10.0.${n}.0/24` },
      }),
    ],
    [
      'POST /v2/blocks/{id}/children',
      async n => {
        const { id } = await newBlock(`10.0.${n}.0/24`)
        const body = { prefix_length: 28, count: 3 }
        return { method: 'POST', path: `/v2/blocks/${id}/children`, body }
      },
    ],
    [
      'PATCH /v2/blocks/{id}',
      async n => {
        const { id } = await newBlock(`10.0.${n}.0/24`)
        return { method: 'PATCH', path: `/v2/blocks/${id}`, body: { name: 'changed' } }
      },
    ],
    [
      'POST /v2/allocations',
      async n => {
        const { id: block_id } = await newBlock(`10.0.${n}.0/24`)
        const body = { block_id, project_id: 'p', owner_id: `vm-${n}`, count: 2 }
        return { method: 'POST', path: '/v2/allocations', body }
      },
    ],
    [
      'DELETE /v2/allocations/{id}',
      async n => {
        const { id: block_id } = await newBlock(`10.0.${n}.0/24`)
        const body = { block_id, project_id: 'p' }
        const { allocations } = await made<Body>('/v2/allocations', body)
        return { method: 'DELETE', path: `/v2/allocations/${allocations[0]?.id}` }
      },
    ],
    [
      'POST /v2/allocations/release',
      async n => {
        const { id: block_id } = await newBlock(`10.0.${n}.0/24`)
        const owner = { block_id, project_id: 'p', owner_id: `vm-${n}` }
        await made('/v2/allocations', { ...owner, count: 3 })
        return { method: 'POST', path: '/v2/allocations/release', body: owner }
      },
    ],
  ]

  test.each(writes.map(([name, prepare], n) => ({ name, prepare, n })))(
    '$name, cut off after the commit, is answered when it is repeated (I8)',
    async ({ prepare, n }) => {
      const key = `lost-${n}`
      const write = await prepare(n)
      await withPostgres(database, async query => {
        const before = Number(await eventCount(query))
        const { proxy, lost } = await sendIntoVoid(write, key)
        await waitUntil('the change is committed', () => committed(query, key))
        await waitUntil('the server has answered', () => proxy.swallowed !== null)
        const first = proxy.swallowed ?? ''
        await proxy.cut()
        await lost
        const changes = Number(await eventCount(query)) - before
        expect(changes).toBeGreaterThan(0)

        for (const server of [1, 0]) {
          const again = await send(server, write, key)
          expect(isReplayed(again)).toBe(true)
          expect(again.status).toBeOneOf([200, 201, 204])
          expect(again.body).toEqual(first === '' ? null : JSON.parse(first))
        }
        expect(Number(await eventCount(query)) - before).toBe(changes)
        const fresh = await send(1, write, `${key}-fresh`)
        expect(isReplayed(fresh)).toBe(false)
      })
    },
  )

  test('a write that is repeated while it is still under way waits, and gets the answer', async () => {
    const write = {
      method: 'POST',
      path: '/v2/blocks',
      body: { scope_id: 'public', cidr: '11.0.0.0/8' },
    }
    await withPostgres(database, async query => {
      await query('begin')
      await query('select from address_scopes where project_id is null for update')
      const waiting = async () => {
        const [row] = await withPostgres(database, other =>
          other(`
            select count(*)::int as n from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'`),
        )
        return Number(row?.n)
      }
      const { proxy, lost } = await sendIntoVoid(write, 'slow')
      await waitUntil('the first waits for the scope', async () => (await waiting()) === 1)
      await proxy.cut()
      await lost
      const again = send(1, write, 'slow')
      await waitUntil('the second waits for the first', async () => (await waiting()) === 2)
      await query('rollback')
      expect(await again).toMatchObject({ status: 201, body: { cidr: '11.0.0.0/8' } })
      expect(isReplayed(await again)).toBe(true)
      const blocks = await query(`select id from blocks where cidr = '11.0.0.0/8'`)
      expect(blocks).toEqual([{ id: (await again).body.id }])
    })
  })

  /** Sends a write until it is answered, as a client would: the next time to the other server. */
  async function sendUntilAnswered(first: number, write: Write, key: string) {
    for (let attempt = first; attempt < first + 100; attempt++) {
      try {
        const answer = await send(attempt, write, key)
        if (answer.status !== 503) return answer
      } catch (error) {
        if (!(error instanceof NoAnswer)) throw error
      }
    }
    throw new Error(`no answer to ${key}`)
  }

  type Task = { readonly kind: string; readonly key: string; readonly write: Write }

  /** 64 clients with their keys, each of which is sent several times at once. */
  async function race(round: string, onAnswer: (count: number) => void) {
    const parent = await newBlock(round === 'calm' ? '12.0.0.0/16' : '13.0.0.0/16')
    const shared = await newBlock(round === 'calm' ? '14.0.0.0/24' : '15.0.0.0/24')
    const tasks: Task[][] = Array.from({ length: 64 }, (_, client) =>
      Array.from({ length: 2 }, (__, turn) => `${round}-${client}-${turn}`).flatMap(name => [
        {
          kind: 'cut',
          key: `${name}-cut`,
          write: {
            method: 'POST',
            path: `/v2/blocks/${parent.id}/children`,
            body: { prefix_length: 28, name },
          },
        },
        {
          kind: 'rename',
          key: `${name}-rename`,
          write: { method: 'PATCH', path: `/v2/blocks/${shared.id}`, body: { name } },
        },
        {
          kind: 'allocate',
          key: `${name}-allocate`,
          write: {
            method: 'POST',
            path: '/v2/allocations',
            body: { block_id: shared.id, project_id: round, owner_id: name },
          },
        },
        {
          kind: 'scope',
          key: `${name}-scope`,
          write: {
            method: 'POST',
            path: '/v2/address-scopes',
            body: { project_id: round, name },
          },
        },
      ]),
    )
    let count = 0
    const answers = new Map<string, Answer<Body>[]>()
    const run = async (own: Task[], client: number) => {
      for (const { key, write } of own) {
        const copies = Array.from({ length: 4 }, async (_, copy) => {
          const answer = await sendUntilAnswered(client + copy, write, key)
          onAnswer(++count)
          return answer
        })
        answers.set(key, await Promise.all(copies))
      }
    }
    await Promise.all(tasks.map(run))
    return { tasks: tasks.flat(), answers, parent, shared }
  }

  /** Each key made exactly one change, and everybody was told of that one. */
  async function expectOnce({ tasks, answers, parent, shared }: Awaited<ReturnType<typeof race>>) {
    const of = (kind: string) => tasks.filter(task => task.kind === kind)
    expect(answers.size).toBe(tasks.length)
    for (const [key, given] of answers) {
      const [first] = given
      expect([key, first?.status]).toEqual([key, expect.toBeOneOf([200, 201])])
      for (const { status, body } of given) {
        expect([status, body]).toEqual([first?.status, first?.body])
      }
      expect(given.filter(answer => !isReplayed(answer)).length).toBeLessThanOrEqual(1)
    }
    await withPostgres(database, async query => {
      const children = await query('select name from blocks where parent_id = $1', [parent.id])
      const wanted = of('cut').map(({ write }) => (write.body as { name: string }).name)
      expect(children.map(({ name }) => String(name)).toSorted()).toEqual(wanted.toSorted())
      const [block] = await query('select generation from blocks where id = $1', [shared.id])
      expect(block?.generation).toBe(1 + of('rename').length)
      const owners = await query('select owner_id from allocations where block_id = $1', [
        shared.id,
      ])
      const asked = of('allocate').map(({ write }) => (write.body as { owner_id: string }).owner_id)
      expect(owners.map(({ owner_id }) => String(owner_id)).toSorted()).toEqual(asked.toSorted())
      const events = await query(
        `select type, count(*)::int as n from events
        where object_id = $1 or data ->> 'parent_id' = $2 group by type order by type`,
        [shared.id, parent.id],
      )
      expect(events).toEqual([
        { type: 'block.created', n: 1 + of('cut').length },
        { type: 'block.updated', n: of('rename').length },
      ])
      const kept = await query('select from idempotency_keys where key = any ($1)', [
        tasks.map(({ key }) => key),
      ])
      expect(kept).toHaveLength(tasks.length)
      expect(await findContradictions(query)).toEqual([])
    })
    expect(await runAudit(env)).toMatchObject({ code: 0, differences: [] })
  }

  test('64 clients who send each of their keys several times at once make each change once', async () => {
    const result = await race('calm', () => undefined)
    await expectOnce(result)
    for (const [key, given] of result.answers) {
      expect([key, given.filter(answer => !isReplayed(answer)).length]).toEqual([key, 1])
    }
  })

  test('and also when a server is killed while they do so', async () => {
    let killed: Promise<void> | undefined
    const result = await race('storm', count => {
      if (count === 300) killed = serverAt(1).kill9()
    })
    await killed
    expect(serverAt(1).isRunning).toBe(false)
    await expectOnce(result)
  })
})
