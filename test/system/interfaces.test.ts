import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { Interface } from '../../src/resources/interfaces/schema.ts'
import { createDatabase, dropDatabase, withPostgres } from '../helpers/direct-sql.ts'
import type { Answer, Problem } from '../helpers/http-client.ts'
import { Random } from '../helpers/random.ts'
import { cleanUp, runAudit, ServerProcess, settingsFile } from '../helpers/server-process.ts'

const seconds = Number(process.env.MELANGE_RACE_SECONDS ?? 20)
const seed = Number(process.env.MELANGE_RACE_SEED ?? 61)
const clients = 32
const quota = 40

/** What a client may be told: all else is a fault. */
const refusals = [
  'network_full',
  'mac_range_full',
  'mac_taken',
  'mac_forbidden',
  'mac_waits',
  'address_taken',
  'quota_exceeded',
  'interface_not_found',
  'mac_in_use',
]

describe.skipIf(inject('postgresUrl') === '')('two servers and the interfaces of many', () => {
  let database: string
  let servers: ServerProcess[]
  let env: Record<string, string>
  let requests = 0
  const outcomes = new Map<string, number>()
  const faults: string[] = []

  beforeAll(async () => {
    database = await createDatabase(inject('postgresUrl'))
    env = { DATABASE_URL: database, MELANGE_CONFIG: settingsFile({ log_level: 'warn' }) }
    servers = await Promise.all([ServerProcess.start(env), ServerProcess.start(env)])
  })
  afterAll(async () => {
    await cleanUp()
    if (database) await dropDatabase(database)
  })

  const send = <T>(method: string, path: string, body?: object): Promise<Answer<T & Problem>> => {
    const server = servers[requests++ % servers.length]
    if (!server) throw new Error('there is no server')
    return server.request<T & Problem>(method, `/v2/${path}`, body)
  }
  async function create<T>(path: string, body: object): Promise<T> {
    const { status, body: made } = await send<T>('POST', path, body)
    if (status !== 201) throw new Error(JSON.stringify(made))
    return made
  }
  async function ask<T>(what: string, request: Promise<Answer<T & Problem>>): Promise<T | null> {
    const { status, body } = await request
    const outcome = `${what}: ${status < 300 ? 'done' : body?.code}`
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    if (status < 300) return body
    if (!refusals.includes(body.code)) faults.push(`${what}: ${status} ${JSON.stringify(body)}`)
    return null
  }

  async function createWorld(): Promise<string[]> {
    const networks: string[] = []
    for (let n = 0; n < 3; n++) {
      const { id: network_id } = await create<{ id: string }>('networks', { name: `n${n}` })
      networks.push(network_id)
      const scope_id = 'public'
      await create('blocks', { scope_id, network_id, cidr: `10.${n}.0.0/27` })
      await create('blocks', { scope_id, network_id, cidr: `10.${n}.1.0/28`, priority: 1 })
      await create('blocks', { scope_id, network_id, cidr: `2001:db8:${n}::/64` })
    }
    const range = (prefix: string, more: object) => create('mac-ranges', { prefix, ...more })
    await range('52:54:00:00:00:00/43', { reuse_after_seconds: 1 })
    await range('52:54:00:01:00:00/42', { strategy: 'random', forbidden: ['52:54:00:01:00:00/46'] })
    await range('52:54:00:02:00:00/44', { uniqueness: 'network' })
    await range('52:54:00:03:00:00/44', { strategy: 'least_recently_used' })
    await send('PUT', 'quotas/p0', { interfaces: quota })
    return networks
  }

  async function run(networks: readonly string[], random: Random, until: number): Promise<void> {
    const own: { id: string; project_id: string }[] = []
    const macs: string[] = []
    const families = () => random.pick([[], [4], [6], [4, 6], [4, 6]]) ?? []
    const spec = () => ({
      network_id: random.pick(networks),
      name: `nic${random.below(3)}`,
      families: families(),
      ...(random.below(3) === 0 && {
        mac_address: `52:54:00:0${random.below(5)}:00:0${random.below(10)}`,
      }),
      ...(random.below(6) === 0 && { addresses: [`10.0.0.${random.between(1, 30)}`] }),
    })
    while (Date.now() < until) {
      const project_id = `p${random.below(3)}`
      const nic = random.pick(own)
      const choice = random.below(10)
      if (choice < 3 && own.length < 6) {
        const body = { project_id, device_id: `vm-${random.below(12)}`, ...spec() }
        const request = send<Interface>('POST', 'interfaces', toOneNetwork(body, networks))
        const made = await ask('create', request)
        if (made) own.push(made)
      } else if (choice < 5 && own.length > 0) {
        const gone = random.take(own)
        await ask('delete', send('DELETE', `interfaces/${gone?.id}`))
      } else if (choice === 5 && nic) {
        const body = { families: families() }
        await ask('add', send('POST', `interfaces/${nic.id}/addresses`, body))
      } else if (choice === 6 && nic) {
        const device_id = `vm-${random.below(12)}`
        await ask('move', send('PATCH', `interfaces/${nic.id}`, { device_id }))
      } else if (choice === 7) {
        const interfaces = Array.from({ length: random.below(4) }, () =>
          toOneNetwork(spec(), networks),
        )
        const path = `devices/vm-${random.below(12)}/interfaces`
        await ask('replace', send('PUT', path, { project_id, interfaces }))
      } else if (choice === 8) {
        const body = { project_id, network_id: random.pick(networks), owner_id: project_id }
        const mac = await ask('mac', send<{ id: string }>('POST', 'macs', body))
        if (mac) macs.push(mac.id)
      } else if (macs.length > 0) {
        await ask('release', send('DELETE', `macs/${random.take(macs)}`))
      }
    }
  }

  test(`${clients} clients get NICs with all that they ask, or nothing of it`, async () => {
    const networks = await createWorld()
    const until = Date.now() + seconds * 1000
    await Promise.all(
      Array.from({ length: clients }, (_, n) => run(networks, new Random(seed + n), until)),
    )
    console.info(Object.fromEntries([...outcomes].toSorted()))
    expect(faults.slice(0, 10)).toEqual([])
    for (const what of ['create', 'delete', 'add', 'move', 'replace', 'mac', 'release']) {
      expect(outcomes.get(`${what}: done`)).toBeGreaterThan(0)
    }
    await withPostgres(database, async query => {
      for (const [what, text] of Object.entries(contradictions)) {
        expect([what, await query(text)]).toEqual([what, []])
      }
    })
    expect(await runAudit(env)).toMatchObject({ code: 0, differences: [] })
  })

  test('nobody waited for a deadlock to be broken', async () => {
    for (const server of servers) expect(await server.stop()).toBe(0)
    const found = await withPostgres(database, query =>
      query('select deadlocks from pg_stat_database where datname = current_database()'),
    )
    expect(found).toEqual([{ deadlocks: '0' }])
  })
})

/** Addresses that are named are those of the first network. */
const toOneNetwork = <T extends { addresses?: string[] }>(
  spec: T,
  networks: readonly string[],
): T => (spec.addresses ? { ...spec, network_id: networks[0] } : spec)

const states = `
  select id, mac, range_id, network_id, started_at, null::timestamptz as ended_at from macs
  union all
  select id, mac, range_id, network_id, started_at, ended_at from mac_history`

/** What must not be, by queries that find it. */
const contradictions: Readonly<Record<string, string>> = {
  'a MAC was held by two at one time': `
    select a.id, b.id from (${states}) a join (${states}) b
      on a.mac = b.mac and a.id < b.id
        and (a.network_id is not distinct from b.network_id
          or a.range_id in (select id from mac_ranges where uniqueness = 'range'))
    where a.started_at < coalesce(b.ended_at, 'infinity')
      and b.started_at < coalesce(a.ended_at, 'infinity') limit 5`,
  'a MAC was given again too early': `
    select h.id from mac_history h join (${states}) n
      on n.mac = h.mac and n.id <> h.id and n.started_at >= h.ended_at
        and n.started_at < h.reusable_at
      left join macs m on m.id = n.id left join mac_history g on g.id = n.id
    where coalesce(m.owner_id, g.owner_id) is distinct from h.owner_id limit 5`,
  'a MAC is both free and held': `
    select m.id from macs m join mac_free_ranges f
      on f.pool_id = m.pool_id and m.mac between f.first and f.last limit 5`,
  'a range has lost some': `
    select p.id from mac_pools p join mac_ranges r on r.id = p.range_id
    where r.last - r.first + 1 <> p.held + p.waiting
      + (select coalesce(sum(f.last - f.first + 1), 0) from mac_free_ranges f where f.pool_id = p.id)
      + (select coalesce(sum(upper(x) - lower(x)), 0) from unnest(r.forbidden_macs) x)`,
  'a forbidden MAC was given': `
    select s.id from (${states}) s join mac_ranges r on r.id = s.range_id
    where r.forbidden_macs @> s.mac limit 5`,
  'an interface has no MAC': `
    select id from interfaces where id not in (select interface_id from macs
      where interface_id is not null) limit 5`,
  'an address is of no interface, or of another network': `
    select a.id from allocations a join blocks b on b.id = a.block_id
      left join interfaces i on i.id::text = a.owner_id and i.network_id = b.network_id
        and i.project_id = a.project_id
    where a.owner_type = 'interface' and i.id is null limit 5`,
  'a project has more than its quota': `
    select project_id from interfaces where project_id = 'p0'
    group by project_id having count(*) > ${quota}`,
}
