import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { Interface } from '../../src/resources/interfaces/schema.ts'
import { createDatabase, dropDatabase, withPostgres } from '../helpers/direct-sql.ts'
import type { Answer, Problem } from '../helpers/http-client.ts'
import { findContradictions } from '../helpers/independent-checks.ts'
import { findInterfaceContradictions } from '../helpers/interface-checks.ts'
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
  'address_quarantined',
  'quota_exceeded',
  'interface_not_found',
  'mac_in_use',
  'allocation_not_found',
  'allowed_address_taken',
  'allowed_address_exists',
  'allowed_address_not_found',
  'primary_taken',
  'precondition_failed',
  'client_id_taken',
  'duid_taken',
  'network_not_found',
  'network_in_use',
  'network_has_subnets',
  'no_subnet',
  'block_not_found',
  'block_in_use',
  'address_outside_block',
  'mac_range_not_found',
  'mac_range_in_use',
  'mac_range_overlaps',
]

describe.skipIf(inject('postgresUrl') === '')('two servers and the interfaces of many', () => {
  let database: string
  let servers: ServerProcess[]
  let env: Record<string, string>
  let requests = 0
  const outcomes = new Map<string, number>()
  const faults: string[] = []
  const ranges: string[] = []

  beforeAll(async () => {
    database = await createDatabase(inject('postgresUrl'))
    env = { DATABASE_URL: database, MELANGE_CONFIG: settingsFile({ log_level: 'warn' }) }
    servers = await Promise.all([ServerProcess.start(env), ServerProcess.start(env)])
  })
  afterAll(async () => {
    await cleanUp()
    if (database) await dropDatabase(database)
  })

  const send = <T>(
    method: string,
    path: string,
    body?: object,
    headers: Record<string, string> = {},
  ): Promise<Answer<T & Problem>> => {
    const server = servers[requests++ % servers.length]
    if (!server) throw new Error('there is no server')
    return server.request<T & Problem>(method, `/v2/${path}`, body, headers)
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
    const range = async (prefix: string, more: object) => {
      const { id } = await create<{ id: string }>('mac-ranges', { prefix, ...more })
      ranges.push(id)
    }
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
      ...names(),
    })
    const names = () => ({
      ...(random.below(4) === 0 && { client_id: `010${random.below(4)}` }),
      ...(random.below(4) === 0 && {
        duid: `00040${random.below(3)}`,
        iaid: random.pick([null, 1, 2]),
      }),
    })
    while (Date.now() < until) {
      const project_id = `p${random.below(3)}`
      const nic = random.pick(own)
      const choice = random.below(16)
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
        // Of a range that is named, which locks its pool alone, or of any.
        const range_id = random.pick([undefined, ...ranges])
        const network_id = random.pick(networks)
        const body = { project_id, network_id, range_id, owner_id: project_id }
        const mac = await ask('mac', send<{ id: string }>('POST', 'macs', body))
        if (mac) macs.push(mac.id)
      } else if (choice === 9 && macs.length > 0) {
        await ask('release', send('DELETE', `macs/${random.take(macs)}`))
      } else if (choice === 10 && nic) {
        await releaseElsewhere(nic.id, random)
      } else if (choice === 11 && nic) {
        await allow(nic.id, random)
      } else if (choice === 12 && nic) {
        const seen = await send<Interface>('GET', `interfaces/${nic.id}`)
        const headers = { 'if-match': String(seen.headers.etag ?? '"0"') }
        const body = { name: `nic${random.below(9)}`, ...names() }
        await ask('rename', send('PATCH', `interfaces/${nic.id}`, body, headers))
      } else if (choice === 13) {
        // The same MAC, of no range, for whoever is first: it goes from one to the other.
        const address = `02:00:00:00:00:0${random.below(3)}`
        const network_id = random.pick(networks)
        const mac = await ask(
          'own',
          send<{ id: string }>('POST', 'macs', { project_id, address, network_id }),
        )
        if (mac) await ask('release', send('DELETE', `macs/${mac.id}`))
      } else if (choice === 14) {
        await reshape(random)
      }
    }
  }

  /** Releases an address of an interface, and gives it a hold that lapses at once. */
  async function releaseElsewhere(id: string, random: Random): Promise<void> {
    const { body } = await send<Interface>('GET', `interfaces/${id}`)
    const address = random.pick(body.addresses ?? [])
    if (!address) return
    const path = `allocations/${address.allocation_id}`
    await ask('release elsewhere', send('DELETE', path))
    const { project_id, network_id } = body
    const hold = { project_id, network_id, owner_type: 'visitor', lifetime_seconds: 1 }
    await ask('hold', send('POST', 'allocations', hold))
  }

  async function allow(id: string, random: Random): Promise<void> {
    const path = `interfaces/${id}/allowed-addresses`
    const role = random.pick(['exclusive', 'primary', 'secondary', 'shared'])
    const body = { address: `10.9.0.${random.below(3)}`, role }
    const made = await ask('allow', send<{ id: string }>('POST', path, body))
    if (!made) return
    const other = { role: random.pick(['primary', 'shared']) }
    await ask('role', send('PATCH', `${path}/${made.id}`, other))
    if (random.below(3) > 0) await ask('disallow', send('DELETE', `${path}/${made.id}`))
  }

  /** A network, a block and a range that come and go, while others may take from them. */
  async function reshape(random: Random): Promise<void> {
    const n = random.below(4)
    const range = {
      prefix: `5a:00:00:00:0${n}:00/44`,
      uniqueness: random.pick(['range', 'network']),
    }
    const network = await ask(
      'network',
      send<{ id: string }>('POST', 'networks', { name: 'short' }),
    )
    const made = await ask('range', send<{ id: string }>('POST', 'mac-ranges', range))
    if (!network) return
    const place = { scope_id: 'public', cidr: `10.20.${n}.0/28`, network_id: network.id }
    const block = await send<{ id: string }>('POST', 'blocks', place)
    const nic = { project_id: 'p1', network_id: network.id, families: [4] }
    const [made1] = await Promise.all([
      ask('short', send<Interface>('POST', 'interfaces', nic)),
      ask('delete range', send('DELETE', `mac-ranges/${made?.id ?? network.id}`)),
      block.status === 201 ? ask('delete block', send('DELETE', `blocks/${block.body.id}`)) : null,
      ask('delete network', send('DELETE', `networks/${network.id}`)),
    ])
    if (made1) await ask('delete', send('DELETE', `interfaces/${made1.id}`))
    if (block.status === 201) await ask('delete block', send('DELETE', `blocks/${block.body.id}`))
    await ask('delete network', send('DELETE', `networks/${network.id}`))
  }

  test(`${clients} clients get NICs with all that they ask, or nothing of it`, async () => {
    const networks = await createWorld()
    const until = Date.now() + seconds * 1000
    await Promise.all(
      Array.from({ length: clients }, (_, n) => run(networks, new Random(seed + n), until)),
    )
    console.info(Object.fromEntries([...outcomes].toSorted()))
    expect(faults.slice(0, 10)).toEqual([])
    const all = ['create', 'delete', 'add', 'move', 'replace', 'mac', 'release', 'own', 'allow']
    for (const what of [...all, 'release elsewhere', 'role', 'disallow', 'rename', 'range']) {
      expect(outcomes.get(`${what}: done`)).toBeGreaterThan(0)
    }
    await withPostgres(database, async query => {
      expect(await findContradictions(query)).toEqual([])
      expect(await findInterfaceContradictions(query)).toEqual([])
      const over = `select project_id from interfaces where project_id = 'p0'
        group by project_id having count(*) > ${quota}`
      expect(await query(over)).toEqual([])
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
