import { once } from 'node:events'
import { connect } from 'node:net'
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import { createDatabase, dropDatabase, withPostgres } from '../helpers/direct-sql.ts'
import { HttpClient, NoAnswer } from '../helpers/http-client.ts'
import { waitUntil } from '../helpers/race-load.ts'
import { adminToken, cleanUp, ServerProcess } from '../helpers/server-process.ts'

describe.skipIf(inject('postgresUrl') === '')('SIGTERM', () => {
  let DATABASE_URL: string
  let server: ServerProcess
  let block: Block

  beforeEach(async () => {
    DATABASE_URL = await createDatabase(inject('postgresUrl'))
    server = await ServerProcess.start({ DATABASE_URL })
    const made = await server.post<Block>('/v2/blocks', { scope_id: 'public', cidr: '10.0.0.0/8' })
    block = made.body
  })
  afterEach(async () => {
    await cleanUp()
    await dropDatabase(DATABASE_URL)
  })

  const wish = (owner_id: string) => ({ block_id: block.id, project_id: 'p', owner_id })

  test('under load: what was accepted is answered, the rest changed nothing', async () => {
    const acknowledged = new Set<string>()
    const unanswered = new Map<string, NoAnswer>()
    const odd: string[] = []
    const work = async (_: unknown, n: number) => {
      // Half of the clients keep their connection, half of them make one for each request.
      const client = new HttpClient(
        server.url,
        { 'x-auth-token': adminToken },
        { keepAlive: n % 2 === 0 },
      )
      for (let turn = 0; ; turn++) {
        const owner = `${n}-${turn}`
        try {
          const body = wish(owner)
          const answer = await client.request<{ allocations: Allocation[] }>({
            method: 'POST',
            path: '/v2/allocations',
            body,
          })
          if (answer.status === 201) acknowledged.add(owner)
          else odd.push(`${answer.status} ${JSON.stringify(answer.body)}`)
        } catch (error) {
          if (!(error instanceof NoAnswer)) throw error
          unanswered.set(owner, error)
          return client.close() // The server has gone.
        }
      }
    }
    const load = Promise.all(Array.from({ length: 32 }, work))
    await waitUntil('the load is under way', () => acknowledged.size > 500)
    expect(await server.stop()).toBe(0)
    await load

    expect(odd).toEqual([])
    const torn = [...unanswered.values()].filter(({ hadBegun }) => hadBegun)
    expect(torn).toEqual([])
    await withPostgres(DATABASE_URL, async query => {
      const rows = await query('select owner_id from allocations')
      expect(new Set(rows.map(({ owner_id }) => owner_id))).toEqual(acknowledged)
    })
  })

  test('finishes a request that waits for a lock', async () => {
    await withPostgres(DATABASE_URL, async query => {
      await query('begin')
      await query('update block_usage set changed_at = changed_at')
      const slow = server.post<{ allocations: Allocation[] }>('/v2/allocations', wish('slow'))
      await withPostgres(DATABASE_URL, observe =>
        waitUntil('the request waits', async () => {
          const [waiting] = await observe(`
            select count(*)::int as n from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'`)
          return waiting?.n === 1
        }),
      )
      const ended = server.stop()
      await waitUntil('the server listens no more', () => refusesConnections(server.url))
      await query('rollback')
      const { status, body } = await slow
      expect([status, body.allocations[0]?.owner_id]).toEqual([201, 'slow'])
      expect(await ended).toBe(0)
    })
  })

  test('ends a long poll at once', async () => {
    const poll = server.get<{ events: object[] }>('/v2/events?after=latest&wait=60')
    const shortPolls = Array.from({ length: 3 }, () => server.get('/v2/events?after=latest&wait=1'))
    await Promise.all(shortPolls) // They began after the long one.
    // After shutdown_seconds the status would be 1.
    expect(await server.stop()).toBe(0)
    const { status, body } = await poll
    expect([status, body.events]).toEqual([200, []])
  })

  test('needs no idle connection to end', async () => {
    const { hostname, port } = new URL(server.url)
    const socket = connect(Number(port), hostname)
    await once(socket, 'connect')
    const closed = once(socket, 'close')
    expect(await server.stop()).toBe(0)
    await closed
  })

  test('leaves logs in JSON, with the id of each request and never a token', async () => {
    const strange = 'a-token-that-nobody-has'
    const stranger = new HttpClient(server.url, { authorization: `Bearer ${strange}` })
    const answers = [
      await server.post<object>('/v2/allocations', wish('one')),
      await server.post<object>('/v2/allocations', { block_id: 7 }),
      await server.get<object>('/v2/allocations?limit=1'),
      await server.get<object>('/v2/nothing'),
      await server.get<object>('/healthz'),
      await stranger.request<object>({ method: 'GET', path: '/v2/blocks' }),
    ]
    stranger.close()
    expect(answers.map(({ status }) => status)).toEqual([201, 400, 200, 404, 200, 401])
    expect(await server.stop()).toBe(0)

    const lines = server.stdout.trimEnd().split('\n')
    const logged = lines.map(line => JSON.parse(line) as Record<string, unknown>)
    const answered = logged.filter(({ msg }) => msg === 'answered')
    for (const { headers, status } of answers) {
      const id = headers['x-openstack-request-id']
      expect(id).toMatch(/^req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
      const found = answered.filter(({ reqId }) => reqId === id)
      expect(found).toMatchObject([
        { status, method: expect.any(String), path: expect.any(String) },
      ])
    }
    expect(server.stdout + server.stderr).not.toContain(adminToken)
    expect(server.stdout + server.stderr).not.toContain(strange)
  })
})

function refusesConnections(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  return once(socket, 'connect')
    .then(
      () => false,
      () => true,
    )
    .finally(() => socket.destroy())
}
