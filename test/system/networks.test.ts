import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { Block } from '../../src/resources/blocks/schema.ts'
import type { Network } from '../../src/resources/networks/schema.ts'
import type { Policy } from '../../src/resources/policies/schema.ts'
import { createDatabase, dropDatabase, withPostgres } from '../helpers/direct-sql.ts'
import type { Answer, Problem } from '../helpers/http-client.ts'
import { findContradictions } from '../helpers/independent-checks.ts'
import { count, type NetworkRace, NetworkRaceClient, type Send } from '../helpers/network-race.ts'
import { Random } from '../helpers/random.ts'
import { cleanUp, runAudit, ServerProcess, settingsFile } from '../helpers/server-process.ts'

const seconds = Number(process.env.MELANGE_RACE_SECONDS ?? 20)
const seed = Number(process.env.MELANGE_RACE_SEED ?? 46)
const clients = 36
const networkCount = 3
const subnetsMin = 4

describe.skipIf(inject('postgresUrl') === '')('two servers on the networks of one database', () => {
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
  const send: Send = <T>(method: string, path: string, body?: object) => {
    const server = servers[requests++ % servers.length]
    if (!server) throw new Error('there is no server')
    return server.request<T & Problem>(method, path, body)
  }
  const done = async <T>(answer: Promise<Answer<T & Problem>>): Promise<T> => {
    const { status, body } = await answer
    if (status >= 300) throw new Error(`${status} ${JSON.stringify(body)}`)
    return body
  }

  /** Networks with a policy each, on small subnets in two address scopes. */
  async function createWorld(until: () => boolean) {
    const project = { project_id: 'lab' }
    const { id: other } = await done(
      send<{ id: string }>('POST', '/v2/address-scopes', { ...project, name: 'other' }),
    )
    const networks: Network[] = []
    const policies: Policy[] = []
    for (let n = 0; n < networkCount; n++) {
      const policy = await done(send<Policy>('POST', '/v2/policies', { name: `policy ${n}` }))
      policies.push(policy)
      networks.push(await done(send<Network>('POST', '/v2/networks', { policy_id: policy.id })))
    }
    await done(send('PUT', '/v2/quotas/narrow', { allocations: 60 }))
    const race: NetworkRace = {
      send,
      networks: networks.map(({ id }) => id),
      subnets: [],
      holders: new Map(),
      outcomes: new Map(),
      faults: [],
      refused: [],
      isOver: until,
    }
    return { race, policies, scopes: ['public', other] }
  }
  type World = Awaited<ReturnType<typeof createWorld>>

  /** Does something to the world, again and again. */
  async function keepChanging({ race }: World, name: string, change: () => Promise<unknown>) {
    while (!race.isOver()) {
      try {
        await change()
        count(race, `${name}: done`)
      } catch (error) {
        race.faults.push(`${name}: ${error}`)
      }
    }
  }

  async function addSubnet({ race, scopes }: World, random: Random): Promise<void> {
    // Each is in a place of its own; what is there already, in its scope or its network, is refused.
    const n = random.below(256)
    const cidr =
      random.below(2) === 0
        ? `10.0.${n}.0/${random.between(28, 30)}`
        : `2001:db8:0:${n.toString(16)}::/${random.between(124, 126)}`
    const shape = { cidr, scope_id: random.pick(scopes), network_id: random.pick(race.networks) }
    const priority = random.between(-2, 2)
    const answer = await send<Block>('POST', '/v2/blocks', { ...shape, priority })
    if (answer.status === 201) race.subnets.push(answer.body)
    else if (!overlaps.includes(answer.body.code)) throw new Error(JSON.stringify(answer.body))
  }

  async function removeSubnet({ race }: World, random: Random): Promise<void> {
    // Most often a new one, in which there is nothing yet.
    const block = random.below(4) ? race.subnets.at(-1) : random.pick(race.subnets)
    if (!block || race.subnets.length <= networkCount * subnetsMin * 2) return
    const { status, body } = await send<Block>('DELETE', `/v2/blocks/${block.id}`)
    if (status < 300) race.subnets.splice(race.subnets.indexOf(block), 1)
    else if (!inUse.includes(body.code)) throw new Error(JSON.stringify(body))
    count(race, `delete of a subnet: ${body?.code ?? status}`)
  }

  /** Divides a subnet, and puts it together again if nobody is in the part meanwhile. */
  async function divideSubnet({ race }: World, random: Random): Promise<void> {
    const block = random.below(4) ? race.subnets.at(-1) : random.pick(race.subnets)
    const prefix_length = Number(block?.cidr.split('/')[1]) + 1
    const path = `/v2/blocks/${block?.id}/children`
    const { status, body } = await send<{ blocks: Block[] }>('POST', path, { prefix_length })
    count(race, `division of a subnet: ${body.code ?? status}`)
    const refusals = ['block_has_allocations', 'no_free_prefix']
    if (status !== 201 && !refusals.includes(body.code)) throw new Error(JSON.stringify(body))
    for (const child of body.blocks ?? []) {
      const gone = await send('DELETE', `/v2/blocks/${child.id}`)
      if (gone.body && inUse.includes(gone.body.code)) race.subnets.push(child)
      else if (gone.status !== 204) throw new Error(JSON.stringify(gone.body))
    }
  }

  const changers: Record<string, (world: World, random: Random) => Promise<unknown>> = {
    subnets: async (world, random) => {
      if (random.below(3) === 0 && world.race.subnets.length < 80) {
        await addSubnet(world, random)
        if (random.below(2)) await divideSubnet(world, random)
      } else if (random.below(4) === 0) await divideSubnet(world, random)
      else await removeSubnet(world, random)
    },
    rules: ({ policies }, random) => {
      const rules = {
        ...(random.below(2) && { subnet_selection: random.pick(['spread', 'fill_first']) }),
        ...(random.below(2) && { strategy: random.pick(strategies) }),
        ...(random.below(2) && { quarantine_seconds: random.between(0, 2) }),
        ...(random.below(2) && { quarantine_reuse: random.pick(['when_full', 'never']) }),
        ...(random.below(3) === 0 && { exclusions: random.pick(exclusions) }),
        ...(random.below(4) === 0 && { purposes: [{ purpose: 'vip', last: 3 }] }),
      }
      return done(send('PATCH', `/v2/policies/${random.pick(policies)?.id}`, { rules }))
    },
    attachments: ({ race, policies }, random) => {
      const policy_id = random.below(4) === 0 ? null : random.pick(policies)?.id
      return done(send('PATCH', `/v2/networks/${random.pick(race.networks)}`, { policy_id }))
    },
    priorities: async ({ race }, random) => {
      const path = `/v2/blocks/${random.pick(race.subnets)?.id}`
      const { status, body } = await send('PATCH', path, { priority: random.between(-2, 2) })
      if (status !== 200 && body.code !== 'block_not_found') throw new Error(JSON.stringify(body))
    },
  }

  test(`${clients} clients get all that they ask of a network, or none of it`, async () => {
    const end = Date.now() + seconds * 1000
    const world = await createWorld(() => Date.now() > end)
    const { race } = world
    const random = new Random(seed)
    while (race.subnets.length < networkCount * subnetsMin * 2) await addSubnet(world, random)
    await Promise.all([
      ...Array.from({ length: clients }, (_, n) =>
        new NetworkRaceClient(race, `client ${n}`, seed + n).run(),
      ),
      ...Object.entries(changers).map(([name, change], n) => {
        const choices = new Random(seed + clients + n)
        return keepChanging(world, name, () => change(world, choices))
      }),
    ])

    console.info(Object.fromEntries([...race.outcomes].sort()))
    expect(race.faults.slice(0, 10)).toEqual([])
    for (const kind of ['both', 'both twice', 'partial', 'owner', 'hold', 'block']) {
      expect(race.outcomes.get(`${kind}: given`)).toBeGreaterThan(0)
    }
    expect(race.outcomes.get('both: network_full')).toBeGreaterThan(0)
    await withPostgres(database, async query => {
      expect(await findContradictions(query)).toEqual([])
      const halves = await query(halfGiven)
      expect(halves).toEqual([])
      const left = `select name from (${everGiven}) g where name = any ($1) limit 10`
      expect(await query(left, [race.refused])).toEqual([])
      expect(await query(givenTwice)).toEqual([])
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

const inUse = ['block_in_use', 'block_has_children']
const overlaps = ['block_overlaps', 'block_overlaps_in_network']
const strategies = ['sequential', 'random', 'least_recently_used']
const exclusions = [
  { offsets: [{ from: 2, to: 4 }] },
  { last: 2 },
  { last_octets: [1, 3, 5, 7] },
  { last_octets: [] },
]

const everGiven = `
  select name, address from allocations
  union all
  select name, address from allocation_history`

/** Requests that are to have as many addresses of one IP version as of the other, and have not. */
const halfGiven = `
  select name, count(*) filter (where family(address) = 4) as v4,
    count(*) filter (where family(address) = 6) as v6
  from (${everGiven}) g
  where name ~ '^(both|hold|purpose)'
  group by name
  having count(*) filter (where family(address) = 4)
    <> count(*) filter (where family(address) = 6)`

/**
 * Owners who held two addresses of one IP version in what shall give them one. Times are those of a
 * block, so that only the order of events tells what came first in another.
 */
const givenTwice = `
  with steps as (
    select e.seq, b.network_id, e.owner_id, family((e.data ->> 'address')::inet) as version,
      case e.type when 'allocation.created' then 1 when 'allocation.released' then -1
        when 'allocation.expired' then -1 else 0 end as step
    from events e join blocks b on b.id = (e.data ->> 'block_id')::uuid
    where e.owner_id is not null and e.type like 'allocation.%'
  )
  select network_id, owner_id, version, seq
  from (
    select *, sum(step) over (partition by network_id, owner_id, version order by seq) as held
    from steps
  ) counted
  where held > 1 limit 10`
