import { afterAll, expect, test } from 'vitest'
import type { Cloud } from '../helpers/cloud.ts'
import { type DhcpClient, startDhclient, startDhcpcd } from '../helpers/dhcp-clients.ts'
import { DhcpProcess } from '../helpers/dhcp-process.ts'
import { type Ask4, acquire4, ask4, kindOf } from '../helpers/exchanges.ts'
import { useField } from '../helpers/field.ts'
import type { Segment } from '../helpers/netlab.ts'
import { PacketClient } from '../helpers/packet-client.ts'
import { waitUntil } from '../helpers/race-load.ts'

/*
 * A crowd behind a relay, which the test plays, renews without a pause, and two real clients on the link
 * renew every two seconds, while the API and then the server for machines are killed.
 */

const crowd = 150
const relay = '10.26.0.3'
const server = '10.26.0.2'
const leaseSeconds = 600

let cloud: Cloud
let lan: Segment
let process: DhcpProcess
let client: PacketClient
let network_id: string
const real: DhcpClient[] = []
const realAddresses = ['10.26.2.1', '10.26.2.2']

const macOf = (n: number) =>
  `02:4d:51:00:${Math.floor(n / 256)
    .toString(16)
    .padStart(2, '0')}:${(n % 256).toString(16).padStart(2, '0')}`
const addressOf = (n: number) => `10.26.1.${n}`

useField(async field => {
  cloud = field.cloud
  lan = await field.lab.segment('lan')
  await lan.capture()
  const scope_id = await cloud.scope('outage')
  network_id = (await cloud.network({ name: 'outage' })).id
  await cloud.block({ scope_id, cidr: '10.26.0.0/16', network_id, gateway_ip: '10.26.0.1' })
  await cloud.option(`networks/${network_id}`, 4, 'renewal-time', 2)
  await cloud.option(`networks/${network_id}`, 4, 'rebinding-time', 20)
  const wanted = [
    ...Array.from({ length: crowd }, (_, n) => ({ mac: macOf(n), address: addressOf(n) })),
    ...realAddresses.map((address, n) => ({ mac: macOf(1000 + n), address })),
  ]
  // `addressOf(0)` is an address as any other: the block is a /16.
  for (let from = 0; from < wanted.length; from += 50) {
    await Promise.all(
      wanted
        .slice(from, from + 50)
        .map(({ mac, address }) =>
          cloud.interface(network_id, { mac_address: mac, addresses: [address] }),
        ),
    )
  }
  const served = await lan.machine('served', { addresses: [`${server}/16`] })
  client = await PacketClient.open(await lan.machine('crowd', { addresses: [`${relay}/16`] }), {
    places: ['4:67'],
  })
  process = await DhcpProcess.start(cloud, {
    networks: [
      { id: network_id, interface: 'eth0', namespace: served.name, relays: [{ address: relay }] },
    ],
    relay_listen: [{ address: server, namespace: served.name }],
    lease_seconds: leaseSeconds,
  })
  const machines = await Promise.all(
    realAddresses.map((_, n) => lan.machine(`real${n}`, { mac: macOf(1000 + n) })),
  )
  const [one, other] = machines
  if (!one || !other) throw new RangeError('there are two')
  real.push(startDhclient(one), startDhcpcd(other))
  await Promise.all(real.map(machine => machine.tells('bound')))
})
afterAll(() => client?.close())

const way = { place: '4:67', to: { address: server } }

/** When each of the crowd had its last ACK, in milliseconds since 1970. */
const acknowledged = new Map<number, number>()
let renewals = 0

/** Machines of the crowd that renew, one after the other, until they are told to stop. */
function startLoad(from: number, to: number) {
  let isOver = false
  const failures: string[] = []
  const work = async (first: number) => {
    for (let n = first; !isOver; n = n + 8 < to ? n + 8 : first) {
      const ask: Ask4 = { mac: macOf(n), giaddr: relay, ciaddr: addressOf(n) }
      try {
        const answer = await ask4(client, 'request', ask, way)
        if (kindOf(answer) !== 'ack' || answer.yiaddr !== addressOf(n)) {
          failures.push(`${addressOf(n)}: ${kindOf(answer)} ${answer.yiaddr}`)
        } else acknowledged.set(n, Date.now())
        renewals += 1
      } catch (error) {
        failures.push(`${addressOf(n)}: ${(error as Error).message}`)
        isOver = true
      }
    }
  }
  const running = Promise.all(Array.from({ length: 8 }, (_, n) => work(from + n)))
  return {
    async progress(count: number): Promise<void> {
      const goal = renewals + count
      await waitUntil(`${count} more renewals`, () => isOver || renewals >= goal, 60)
    },
    async stop(): Promise<string[]> {
      isOver = true
      await running
      return failures
    },
  }
}

/** Waits until the API knows each lease at least as it was when the machine was told. */
async function expectNoneLost(): Promise<void> {
  const behind = async () => {
    const leases = await cloud.leases(`network_id=${network_id}`)
    const told = new Map(leases.map(one => [one.address, Date.parse(one.told_at)]))
    return [...acknowledged].filter(([n, at]) => (told.get(addressOf(n)) ?? 0) < at - 2000)
  }
  await waitUntil('no lease is behind', async () => (await behind()).length === 0, 30)
}

test('the API dies during renewals: none fails, and no lease is lost', async () => {
  for (let from = 0; from < crowd; from += 25) {
    const some = Array.from({ length: 25 }, (_, n) => from + n).filter(n => n < crowd)
    const acks = await Promise.all(
      some.map(n => acquire4(client, { mac: macOf(n), giaddr: relay }, way)),
    )
    expect(acks.map(({ yiaddr }) => yiaddr)).toEqual(some.map(addressOf))
  }
  const load = startLoad(0, crowd)
  await load.progress(300)
  await cloud.kill()
  const reports = real.map(machine => machine.reports().length)
  await load.progress(1000)
  await waitUntil(
    'it is said that the API is away',
    async () => !(await process.health()).api.is_connected,
    20,
  )
  const health = await process.health()
  expect(health).toMatchObject({ status: 'degraded', is_ready: true })
  expect(health.leases_pending).toBeGreaterThan(0)
  expect(await process.metric('melange_dhcp_api_connected')).toBe(0)
  expect(await process.metric('melange_dhcp_leases_pending')).toBeGreaterThan(0)
  // Real machines renew meanwhile, too.
  await Promise.all(real.map((machine, n) => machine.tells('renewed', reports[n])))

  await cloud.start()
  await load.progress(300)
  expect(await load.stop()).toEqual([])
  await expectNoneLost()
  await process.isWell()
  expect(await process.metric('melange_dhcp_api_connected')).toBe(1)
  expect(await process.metric('melange_dhcp_leases_total{state="refused"}')).toBe(0)
  for (const machine of real) {
    expect(machine.reports().filter(({ event }) => event === 'lost')).toEqual([])
  }
})

test('it dies itself under load, and comes back without the API', async () => {
  const load = startLoad(0, crowd)
  await load.progress(300)
  await cloud.kill()
  await load.progress(300)
  await process.kill()
  const died = Date.now()
  await process.start()
  expect(await process.health()).toMatchObject({ is_ready: true, api: { is_connected: false } })
  // Who asked meanwhile has asked again, as clients do, and was answered.
  await load.progress(300)
  expect(await load.stop()).toEqual([])
  const answeredSince = [...acknowledged.values()].filter(at => at > died)
  expect(answeredSince.length).toBeGreaterThan(0)
  expect(Math.min(...answeredSince) - died).toBeLessThan(5000)

  await cloud.start()
  await expectNoneLost()
  await process.isWell()
})

test('what it told just before it died is not lost either', async () => {
  await cloud.kill()
  const [first, count] = [0, 40]
  const some = Array.from({ length: count }, (_, n) => first + n)
  await Promise.all(
    some.map(async n => {
      await acquire4(client, { mac: macOf(n), giaddr: relay }, way)
      acknowledged.set(n, Date.now())
    }),
  )
  await process.kill()
  await cloud.start()
  await process.start()
  await expectNoneLost()
})
