import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import type { Grant } from '../../src/resources/grants/schema.ts'
import { createDatabase, dropDatabase, withPostgres } from '../helpers/direct-sql.ts'
import type { Answer, Problem } from '../helpers/http-client.ts'
import { Random } from '../helpers/random.ts'
import { cleanUp, runAudit, ServerProcess, settingsFile } from '../helpers/server-process.ts'

const steps = Number(process.env.MELANGE_RACE_ROUNDS ?? 30)
const seed = Number(process.env.MELANGE_RACE_SEED ?? 15)
const clients = 24

describe.skipIf(inject('postgresUrl') === '')(
  'two servers, an owner and those let in (I15)',
  () => {
    let database: string
    let servers: ServerProcess[]
    let env: Record<string, string>
    let requests = 0
    const tokens: Record<string, string> = {}

    beforeAll(async () => {
      database = await createDatabase(inject('postgresUrl'))
      env = { DATABASE_URL: database, MELANGE_CONFIG: settingsFile({ log_level: 'warn' }) }
      servers = await Promise.all([ServerProcess.start(env), ServerProcess.start(env)])
      for (const project_id of ['red', 'blue', 'green']) {
        const request = { name: project_id, project_id, roles: ['manager'] }
        const { body } = (await servers[0]?.post<{ secret: string }>('/v2/tokens', request)) ?? {}
        tokens[project_id] = String(body?.secret)
      }
    })
    afterAll(async () => {
      await cleanUp()
      if (database) await dropDatabase(database)
    })

    /** Asks the servers by turns. */
    const as = <T>(who: string, method: string, path: string, body?: object) => {
      const server = servers[requests++ % servers.length]
      if (!server) throw new Error('there is no server')
      const headers = { 'x-auth-token': tokens[who] ?? '' }
      return server.request<T & Problem>(method, path, body, headers)
    }
    const done = async <T>(answer: Promise<Answer<T & Problem>>): Promise<T> => {
      const { status, body } = await answer
      if (status >= 300) throw new Error(`${status} ${JSON.stringify(body)}`)
      return body
    }
    const create = <T = { id: string }>(path: string, body: object) =>
      done(as<T>('red', 'POST', path, body))

    test('nothing is taken after it was revoked, and no limit is passed', async () => {
      const scope_id = (await create('/v2/address-scopes', { name: 'granted' })).id
      const network_id = (await create('/v2/networks', {})).id
      const newBlock = (cidr: string, more: object = {}) =>
        create<Block>('/v2/blocks', { scope_id, cidr, ...more })
      await newBlock('10.0.0.0/22', { network_id })
      await newBlock('10.0.4.0/22', { network_id })
      const top = await newBlock('10.8.0.0/16')
      const { blocks } = await create<{ blocks: Block[] }>(`/v2/blocks/${top.id}/children`, {
        prefix_length: 22,
        count: 2,
      })
      const places = [{ network_id }, { block_id: top.id }, { block_id: blocks[0]?.id }]
      const wishes: readonly object[] = [
        { network_id },
        { block_id: blocks[0]?.id },
        { block_id: blocks[1]?.id },
        { block_id: blocks[1]?.id, count: 3 },
        { block_id: blocks[0]?.id, prefix_length: 31 },
        { network_id, lifetime_seconds: 1 },
      ]
      const answers = new Set<string>()
      const client = async (n: number) => {
        const random = new Random(seed + n)
        const who = n % 3 === 0 ? 'green' : 'blue'
        const held: string[] = []
        for (let step = 0; step < steps; step++) {
          const wish = random.pick(wishes) ?? {}
          const isNic = 'network_id' in wish && random.below(3) === 0
          const isBulk = !isNic && random.below(4) === 0
          const { status, body } = isNic
            ? await as<never>(who, 'POST', '/v2/interfaces', {
                ...{ network_id, families: [4], device_id: `vm-${n}` },
                mac_address: macOf(n, step),
              })
            : isBulk
              ? await as<never>(who, 'POST', '/v2/allocations/bulk', {
                  ...{ items: [wish, random.pick(wishes)], on_error: 'abort' },
                })
              : await as<{ allocations: Allocation[] }>(who, 'POST', '/v2/allocations', wish)
          answers.add(status < 300 ? 'done' : `${status} ${body.code}`)
          if (status === 201 && !isNic) {
            held.push(...(body as { allocations: Allocation[] }).allocations.map(({ id }) => id))
          }
          for (const id of held.splice(0, random.below(held.length > 4 ? 4 : 2))) {
            await as(who, 'DELETE', `/v2/allocations/${id}`)
          }
        }
      }
      let isOver = false
      let revoked = 0
      const owner = async (n: number) => {
        const random = new Random(seed * 100 + n)
        const place = places[n % places.length] as object
        const project_id = n < places.length ? 'blue' : null
        while (!isOver) {
          const allocations_max = random.below(4) === 0 ? null : random.between(0, 12)
          const grant = await create<Grant>('/v2/grants', { ...place, project_id, allocations_max })
          for (let change = random.below(4); change > 0; change--) {
            const patch = { allocations_max: random.between(0, 12) }
            await done(as('red', 'PATCH', `/v2/grants/${grant.id}`, patch))
          }
          await done(as('red', 'DELETE', `/v2/grants/${grant.id}`))
          revoked += 1
        }
      }
      const owners = Array.from({ length: 2 * places.length }, (_, n) => owner(n))
      await Promise.all(Array.from({ length: clients }, (_, n) => client(n)))
      isOver = true
      await Promise.all(owners)

      expect([...answers].toSorted()).toEqual([
        '404 block_not_found',
        '404 network_not_found',
        '409 quota_exceeded',
        'done',
      ])
      expect(revoked).toBeGreaterThan(20)
      expect((await runAudit(env)).differences).toEqual([])
      const { wrong, taken } = await withPostgres(database, async query =>
        replay(await query(lives)),
      )
      expect(wrong).toEqual([])
      expect(taken).toBeGreaterThan(50)
    })
  },
)

const macOf = (n: number, step: number) =>
  `52:54:00:00:${n.toString(16).padStart(2, '0')}:${(step % 256).toString(16).padStart(2, '0')}`

/** Grants and what was taken under them, in the order in which it was committed. */
const lives = `
  select e.seq, e.type, e.data ->> 'id' as id, e.data ->> 'project_id' as project_id,
    coalesce(e.data ->> 'block_id', e.data ->> 'network_id') as place,
    (e.data ->> 'allocations_max')::int as most, null as grant_id, 0 as size
  from events e where e.type like 'grant.%'
  union all
  select e.seq, e.type, e.data ->> 'id', e.data ->> 'project_id', null, null, a.grant_id::text,
    (2 ^ (32 - masklen(a.address)))::int
  from events e join (
    select id, grant_id, address from allocations union all
    select id, grant_id, address from allocation_history
  ) a on a.id = e.object_id
  where e.type in ('allocation.created', 'allocation.released', 'allocation.expired')
  order by seq`

/** What was taken without a grant in force, or over its limit, by the events alone. */
function replay(events: readonly Record<string, unknown>[]) {
  type Known = { place: string; project_id: unknown; most: number | null; isInForce: boolean }
  const grants = new Map<unknown, Known>()
  const held = new Map<string, number>()
  const wrong: string[] = []
  let taken = 0
  for (const { seq, type, id, project_id, place, most, grant_id, size } of events) {
    if (String(type).startsWith('grant.')) {
      const isInForce = type !== 'grant.deleted'
      grants.set(id, { place: String(place), project_id, most: most as number | null, isInForce })
      continue
    }
    const grant = grants.get(grant_id)
    if (!grant) {
      wrong.push(`${seq}: ${id} was taken under no grant`)
      continue
    }
    const key = `${grant.place} ${project_id}`
    const now = (held.get(key) ?? 0) + (type === 'allocation.created' ? 1 : -1) * Number(size)
    held.set(key, now)
    if (type !== 'allocation.created') continue
    taken += 1
    if (!grant.isInForce) wrong.push(`${seq}: ${id} was taken under ${grant_id}, revoked before`)
    if (grant.project_id !== null && grant.project_id !== project_id) {
      wrong.push(`${seq}: ${id} of ${project_id} was taken under a grant of ${grant.project_id}`)
    }
    if (grant.most !== null && now > grant.most) wrong.push(`${seq}: ${now} of ${grant.most}`)
  }
  return { wrong, taken }
}
