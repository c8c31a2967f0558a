import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createApi } from '../../src/discovery/api.ts'
import type { Change } from '../../src/discovery/driver.ts'
import { follow } from '../../src/discovery/follow.ts'
import { createReplica, type Replica } from '../../src/discovery/replica.ts'
import { adminToken, expectStatus, useApi } from '../helpers/api.ts'
import { createInterface } from '../helpers/interfaces.ts'
import { Random } from '../helpers/random.ts'

const api = useApi()

let server: ReturnType<typeof createApi>
let stopping: AbortController
let following: Promise<void>
beforeEach(() => {
  stopping = new AbortController()
  following = Promise.resolve()
})
afterEach(async () => {
  stopping.abort()
  await following
  server?.close()
})

type Follower = { readonly replica: Replica; cursor(): number; readonly taken: Change[] }

/** Follows networks as a server for machines does, over HTTP. */
async function startFollowing(wanted: readonly string[]): Promise<Follower> {
  if (!api.app.server.listening) await api.app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = api.app.server.address() as AddressInfo
  server = createApi({ url: `http://127.0.0.1:${port}`, token: adminToken, ca: undefined })
  const replica = createReplica()
  const taken: Change[] = []
  let cursor = -1
  following = follow({
    api: server,
    replica,
    wanted: new Set(wanted),
    cursor: null,
    signal: stopping.signal,
    onContact: failure => {
      if (failure) throw failure
    },
    take: async (changes, to) => {
      taken.push(...changes.filter(change => replica.apply(change)))
      if (to !== null) cursor = Number(to)
    },
  })
  await expect.poll(() => cursor, { interval: 5, timeout: 20_000 }).toBeGreaterThan(-1)
  return { replica, cursor: () => cursor, taken }
}

/** Waits until all events there are have been taken over. */
async function catchUp({ cursor }: Follower) {
  const newest = Number(await server.newestCursor())
  await expect.poll(cursor, { interval: 5, timeout: 20_000 }).toBeGreaterThanOrEqual(newest)
}

/** What the API says now about networks. */
async function readAll(wanted: readonly string[]) {
  const found = new Map<string, { network: unknown; hosts: Map<string, unknown> }>()
  for (const id of wanted) {
    const network = await server.network(id)
    if (!network) continue
    const hosts = new Map<string, unknown>()
    for await (const page of server.hosts(id)) for (const host of page) hosts.set(host.id, host)
    found.set(id, { network, hosts })
  }
  return found
}

const macOf = (number: number) =>
  `52:54:00:00:0${number >> 8}:${(number % 256).toString(16).padStart(2, '0')}`
let nicCount = 0
const createNic = (network_id: string) => {
  nicCount += 1
  const mac_address = macOf(nicCount)
  return createInterface(api, { network_id, project_id: 'red', mac_address, families: [] })
}

async function createNetwork(): Promise<string> {
  return expectStatus(201, await api.post('/v2/networks', { project_id: 'red' })).id
}

test('a change is known, whatever it was, to who follows', async () => {
  const random = new Random(Number(process.env.MELANGE_RACE_SEED ?? 7))
  const pick = <T>(items: readonly T[]): T | undefined => items[random.below(items.length)]
  const networks = [await createNetwork(), await createNetwork()]
  const top = await api.createBlock('10.0.0.0/8', { project_id: 'red' })
  await api.cut(top, { cidrs: ['10.255.0.0/24'] }) // So that it stays, and gives out no addresses.
  const follower = await startFollowing(networks)
  const blocks: string[] = []
  const nics: string[] = []
  const policies: string[] = []
  const allocations: string[] = []
  let number = 0
  const any = (ids: readonly string[]) => pick(ids) ?? top.id

  // Whether a step succeeds does not matter: what is there afterwards is compared.
  const steps: readonly (() => Promise<unknown>)[] = [
    async () => {
      number += 1
      const cidrs = [`10.${number}.0.0/24`]
      const network_id = pick(networks) ?? ''
      const children = await api.cut(top, { cidrs, network_id })
      blocks.push(...children.map(({ id }) => id))
    },
    async () => {
      const network_id = pick(networks) ?? ''
      const families = random.below(2) === 0 ? [4] : []
      number += 1
      const request = { network_id, project_id: 'red', mac_address: macOf(number), families }
      const { status, body } = await api.post('/v2/interfaces', request)
      if (status === 201) nics.push(body.id)
    },
    () => api.delete(`/v2/interfaces/${any(nics)}`),
    () => api.post(`/v2/interfaces/${any(nics)}/addresses`, { families: [4] }),
    async () => {
      const body = { block_id: any(blocks), project_id: 'red', owner_type: 'interface' }
      const answer = await api.post('/v2/allocations', { ...body, owner_id: any(nics) })
      if (answer.status === 201) allocations.push(...answer.body.allocations.map(({ id }) => id))
    },
    async () => {
      number += 1
      const owner_id = `52:54:00:00:00:${String(number % 100).padStart(2, '0')}`
      const client = { owner_type: 'dhcp_client', owner_id, project_id: 'red' }
      const hold = { ...client, block_id: any(blocks), lifetime_seconds: 3600 }
      const answer = await api.post('/v2/allocations', hold)
      if (answer.status === 201) allocations.push(...answer.body.allocations.map(({ id }) => id))
    },
    () => api.post(`/v2/allocations/${any(allocations)}/renew`, { lifetime_seconds: 7200 }),
    () => api.delete(`/v2/allocations/${any(allocations)}`),
    () => api.post(`/v2/allocations/${any(allocations)}/restore`, {}),
    () =>
      api.put(`/v2/networks/${any(networks)}/dhcp-options/4/domain-name`, {
        value: `d${number}.example`,
      }),
    () =>
      api.put(`/v2/blocks/${any([...blocks, top.id])}/dhcp-options/4/ntp-servers`, {
        value: ['192.0.2.9'],
      }),
    () =>
      api.put(`/v2/address-scopes/public/dhcp-options/4/dns-servers`, {
        value: [`192.0.2.${number % 250}`],
      }),
    () => api.put(`/v2/interfaces/${any(nics)}/dhcp-options/4/host-name`, { value: `h${number}` }),
    () => api.delete(`/v2/interfaces/${any(nics)}/dhcp-options/4/host-name`),
    () => api.delete(`/v2/blocks/${any([...blocks, top.id])}/dhcp-options/4/ntp-servers`),
    () => api.patch(`/v2/blocks/${any(blocks)}`, { gateway_ip: null }),
    () => api.patch(`/v2/networks/${any(networks)}`, { mtu: 1000 + number }),
    () =>
      api.post(`/v2/blocks/${any(blocks)}/routes`, {
        destination: `192.168.${number % 250}.0/24`,
        gateway: `10.1.0.${number % 250}`,
      }),
    () => api.delete(`/v2/blocks/${any(blocks)}`),
    async () => {
      number += 1
      policies.push((await api.createPolicy(`p${number}`, rulesOf(number))).id)
    },
    () => api.patch(`/v2/policies/${any(policies)}`, { rules: rulesOf(number) }),
    () => api.patch(`/v2/blocks/${any(blocks)}`, { policy_id: pick(policies) ?? null }),
    () => api.patch(`/v2/networks/${any(networks)}`, { policy_id: pick(policies) ?? null }),
    () => api.patch('/v2/address-scopes/public', { policy_id: pick(policies) ?? null }),
  ]
  for (let round = 0; round < 6; round += 1) {
    for (let count = 0; count < 40; count += 1) await pick(steps)?.()
    await catchUp(follower)
    expect(follower.replica.served).toEqual(await readAll(networks))
  }
  expect(follower.replica.hostCount()).toBeGreaterThan(0)
}, 120_000)

const rulesOf = (number: number) => ({ quarantine_seconds: number })

test('a network that comes later, and one that goes', async () => {
  const id = '3f2b0a52-6c1d-4f0e-9a55-0d6c6f1f0009'
  const follower = await startFollowing([id])
  expect(follower.replica.served.size).toBe(0)
  expectStatus(201, await api.post('/v2/networks', { id, project_id: 'red' }))
  const nic = await createNic(id)
  await catchUp(follower)
  expect([...(follower.replica.served.get(id)?.hosts.keys() ?? [])]).toEqual([nic.id])
  await api.delete(`/v2/interfaces/${nic.id}`)
  expect((await api.delete(`/v2/networks/${id}`)).status).toBe(204)
  await catchUp(follower)
  expect(follower.replica.served.size).toBe(0)
  expect(follower.taken.map(({ type }) => type)).toEqual(
    expect.arrayContaining(['network', 'host', 'network_gone']),
  )
})

test('who was away until events were removed reads all again', async () => {
  const id = await createNetwork()
  const gone = await createNic(id)
  const follower = await startFollowing([id])
  expect(follower.replica.served.get(id)?.hosts.size).toBe(1)
  stopping.abort()
  await following
  const cursor = String(follower.cursor())
  await api.delete(`/v2/interfaces/${gone.id}`)
  const there = await createNic(id)
  await api.db.execute("update events set at = now() - interval '100 days'")
  const { removeOldEvents } = await import('../../src/resources/events/store.ts')
  await removeOldEvents(api.db, { days: 30, limit: 10_000 })
  stopping = new AbortController()
  let isDone = false
  following = follow({
    api: server,
    replica: follower.replica,
    wanted: new Set([id]),
    cursor,
    signal: stopping.signal,
    onContact: () => {},
    take: async (changes, to) => {
      for (const change of changes) follower.replica.apply(change)
      isDone ||= to !== null
    },
  })
  await expect.poll(() => isDone, { interval: 5, timeout: 20_000 }).toBe(true)
  expect([...(follower.replica.served.get(id)?.hosts.keys() ?? [])]).toEqual([there.id])
})
