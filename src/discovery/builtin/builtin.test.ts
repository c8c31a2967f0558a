import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { contextOf } from '../../../test/helpers/dhcp-context.ts'
import { hasIpv6, openRelay4, openRelay6 } from '../../../test/helpers/dhcp-relays.ts'
import {
  blocks,
  hostOf,
  networkId,
  networkOf,
  subnet4,
  subnet6,
} from '../../../test/helpers/dhcp-served.ts'
import { addressOption, messages, option } from '../../../test/helpers/dhcp4-world.ts'
import * as packets6 from '../../../test/helpers/dhcp6.ts'
import { findFreePort } from '../../../test/helpers/free-port.ts'
import { readSamples } from '../../../test/helpers/prometheus.ts'
import type { ServedHost } from '../../dhcp/served.ts'
import { DiscoveryError, type DriverContext, type LeaseNews } from '../driver.ts'
import { createBuiltinAt } from './builtin.ts'

const mac = '52:54:00:00:00:01'
const macs = { one: '525400000001', two: '525400000002', unknown: '5254000000ff' }
const { discover, request } = messages
const server = addressOption(54, '127.0.0.1')
const requested = (address: string) => addressOption(50, address)

const open: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of open.splice(0).toReversed()) await close()
})

type More = {
  readonly config?: Readonly<Record<string, unknown>>
  readonly hosts?: readonly ServedHost[]
  readonly context?: (context: DriverContext) => Partial<DriverContext>
}

/** A server on the loopback interface, with a relay of each version. */
async function served({ config = {}, hosts, context: change = () => ({}) }: More = {}) {
  const relays = [{ address: '127.0.0.1' }, { address: '::1' }]
  const listen = hasIpv6 ? relays : relays.slice(0, 1)
  const made = contextOf(
    {
      config: {
        networks: [{ id: networkId, relays }],
        relay_listen: listen,
        ...config,
      },
      networks: [
        {
          network: networkOf([subnet4({}, 600), subnet6({}, 600)]),
          hosts: hosts ?? [
            hostOf('one', ['10.0.0.5', '2001:db8::5'], { mac_address: mac, host_name: 'vm-one' }),
          ],
        },
      ],
    },
    {
      pools: {
        [`${networkId} 4`]: { block_id: blocks.v4, first: '10.0.0.100' },
        [`${networkId} 6`]: { block_id: blocks.v6, first: '2001:db8::100' },
      },
    },
  )
  const context = { ...made.context, ...change(made.context) }
  const ports = { 4: await findFreePort(), 6: await findFreePort() } as const
  const driver = createBuiltinAt(ports)(context)
  await driver.start()
  open.push(driver.stop)
  const relay4 = await openRelay4(ports[4])
  open.push(relay4.close)
  const samples = async () => readSamples(await context.registry.metrics())
  const put = async (host: ServedHost) => {
    made.served.get(networkId)?.hosts.set(host.id, host)
    await driver.apply([{ type: 'host', network_id: networkId, host }])
  }
  return { ...made, driver, relay4, ports, samples, put }
}

describe('by DHCPv4', () => {
  test('a host gets its address, and its lease is reported', async () => {
    const { relay4, leases } = await served()
    const offer = await relay4.ask({ xid: '00000001', options: discover + option(55, '0c03') })
    expect(offer).toMatchObject({ type: 2, yiaddr: '10.0.0.5', xid: 1 })
    expect(Buffer.from(offer.message.options.get(12) ?? []).toString()).toBe('vm-one')
    expect(leases.news).toEqual([])
    const named = option(12, Buffer.from('says-itself').toString('hex')) + option(61, '01aa')
    const began = Date.now()
    const ack = await relay4.ask({ options: request + server + requested('10.0.0.5') + named })
    expect(ack).toMatchObject({ type: 5, yiaddr: '10.0.0.5' })
    const [news] = leases.news
    expect(news).toEqual({
      allocation_id: 'allocation of 10.0.0.5',
      network_id: networkId,
      address: '10.0.0.5',
      mac_address: mac,
      client_id: '01aa',
      duid: null,
      iaid: null,
      host_name: 'says-itself',
      relay: { address: '127.0.0.1', circuit_id: 'beef', remote_id: null },
      state: 'bound',
      at: expect.any(Number),
      ends_at: Number(news?.at) + 3_600_000,
    })
    expect(news?.at).toBeGreaterThanOrEqual(began)
  })

  test('a lease is told when it is kept, and offers do not wait for that', async () => {
    const waiting: { news: LeaseNews; keep: () => void }[] = []
    let seen = () => {}
    const record = (news: LeaseNews) =>
      new Promise<void>(resolve => {
        waiting.push({ news, keep: resolve })
        seen()
      })
    const { relay4 } = await served({ context: () => ({ leases: { record } }) })
    const isAsked = new Promise<void>(resolve => (seen = resolve))
    relay4.send({ xid: '00000001', options: request + server + requested('10.0.0.5') })
    await isAsked
    expect(await relay4.ask({ xid: '00000002', options: discover })).toMatchObject({ xid: 2 })
    for (const { keep } of waiting) keep()
    expect(await relay4.next()).toMatchObject({ type: 5, xid: 1 })
  })

  test('a lease that need not be kept is told at once', async () => {
    const record = () => new Promise<void>(() => {})
    const config = { durable_leases: false }
    const { relay4 } = await served({ config, context: () => ({ leases: { record } }) })
    const options = request + server + requested('10.0.0.5')
    expect(await relay4.ask({ options })).toMatchObject({ type: 5 })
  })

  test('an unknown client has an address allocated, and gives it back', async () => {
    const { relay4, leases } = await served()
    const client = { mac: macs.unknown }
    expect(await relay4.ask({ ...client, options: discover })).toMatchObject({
      type: 2,
      yiaddr: '10.0.0.100',
    })
    const options = request + server + requested('10.0.0.100')
    expect(await relay4.ask({ ...client, options })).toMatchObject({ type: 5 })
    expect(leases.news).toMatchObject([{ address: '10.0.0.100', state: 'bound' }])
    const release = { ...client, ciaddr: '10.0.0.100', options: messages.release + server }
    relay4.send(release)
    // Known no longer, it may not go on.
    const renew = { ...client, ciaddr: '10.0.0.100', options: request }
    expect(await relay4.ask(renew)).toMatchObject({ type: 6 })
    expect(leases.news.map(({ state }) => state)).toEqual(['bound', 'released'])
  })

  test('known hosts do not wait while the API does not answer for others', async () => {
    const automatic = {
      allocate: () => new Promise<never>(() => {}),
      renew: () => new Promise<never>(() => {}),
    }
    const { relay4, samples } = await served({ context: () => ({ automatic }) })
    for (let n = 1000; n < 1300; n += 1) {
      relay4.send({ mac: `5254${n.toString(16).padStart(8, '0')}`, options: discover })
    }
    expect(await relay4.ask({ xid: '00000007', options: discover })).toMatchObject({ xid: 7 })
    const waiting = (await samples()).filter(({ name }) => name === 'melange_dhcp_waiting')
    expect(waiting.map(({ value }) => value)).toContain(100)
  })

  test('an address that was declined is told to nobody', async () => {
    const { relay4, leases, put } = await served()
    relay4.send({ options: messages.decline + server + requested('10.0.0.5') })
    expect(await relay4.ask({ options: request + requested('10.0.0.5') })).toMatchObject({
      type: 6,
    })
    expect(leases.news).toMatchObject([{ address: '10.0.0.5', state: 'declined' }])
    await put(hostOf('one', ['10.0.0.5', '10.0.0.6'], { mac_address: mac }))
    expect(await relay4.ask({ options: discover })).toMatchObject({ yiaddr: '10.0.0.6' })
  })

  test('changes are answered accordingly when they have been taken over', async () => {
    const { relay4, driver, served: known, put, samples } = await served()
    const two = { mac: macs.two, options: discover }
    await put(hostOf('two', ['10.0.0.7'], { mac_address: '52:54:00:00:00:02' }))
    expect(await relay4.ask(two)).toMatchObject({ yiaddr: '10.0.0.7' })
    await put(hostOf('two', ['10.0.0.8'], { mac_address: '52:54:00:00:00:02' }))
    expect(await relay4.ask(two)).toMatchObject({ yiaddr: '10.0.0.8' })
    const gone = { type: 'host_gone' as const, network_id: networkId, host_id: 'two' }
    await driver.apply([gone])
    expect(await relay4.ask(two)).toMatchObject({ yiaddr: '10.0.0.100' })

    const network = networkOf([subnet4({ options: [{ code: 26, value: 1234 }] })])
    const entry = known.get(networkId)
    if (entry) known.set(networkId, { ...entry, network })
    await driver.apply([{ type: 'network', network }])
    const asks = { options: discover + option(55, '1a') }
    const told = await relay4.ask(asks)
    expect(Buffer.from(told.message.options.get(26) ?? []).readUInt16BE()).toBe(1234)

    await driver.apply([{ type: 'network_gone', network_id: networkId }])
    relay4.send({ ...asks, xid: '00000001' })
    await vi.waitFor(async () => {
      const results = (await samples()).map(({ labels }) => labels.result)
      expect(results).toContain('unknown_link')
    })
    await driver.apply([{ type: 'network', network }])
    expect(await relay4.ask({ ...asks, xid: '00000002' })).toMatchObject({ xid: 2 })
  })

  test('what came of packets is counted', async () => {
    const { relay4, samples, driver } = await served()
    relay4.send({ giaddr: '10.9.9.9', options: discover })
    relay4.send({ hlen: 17 })
    await relay4.ask({ options: discover })
    const packets = (await samples()).filter(({ name }) => name === 'melange_dhcp_packets_total')
    expect(packets.map(({ labels, value }) => [labels.type, labels.result, value])).toEqual([
      ['discover', 'unknown_link', 1],
      ['other', 'malformed', 1],
      ['discover', 'answered', 1],
    ])
    expect(driver.problems()).toEqual([])
  })
})

describe.runIf(hasIpv6)('by DHCPv6', () => {
  const { clientId, duidLL, iaNa, plain, address } = packets6
  const one = clientId(duidLL(macs.one))
  const unknown = clientId(duidLL(macs.unknown))
  const opened6 = async (more: More = {}) => {
    const world = await served(more)
    const relay6 = await openRelay6(world.ports[6])
    open.push(relay6.close)
    return { ...world, relay6 }
  }
  const serverId = ({ folder }: DriverContext) =>
    packets6.option(2, readFileSync(join(folder, 'duid'), 'utf8').trim())

  test('a host gets its address, and its lease is reported', async () => {
    const { relay6, leases } = await opened6({ config: { rapid_commit: true } })
    const solicit = plain('solicit', one, packets6.rapid, iaNa(7, []))
    const said = await relay6.ask(solicit)
    expect(said.at(-1)).toContain('na(7 1125-1800 2001:db8::5=2250-3600)')
    expect(said[0]).toBe('back 0 :: fe80::5 18=beef 135=0000')
    expect(leases.news).toMatchObject([
      {
        allocation_id: 'allocation of 2001:db8::5',
        network_id: networkId,
        address: '2001:db8::5',
        client_id: null,
        duid: duidLL(macs.one),
        iaid: 7,
        relay: { address: 'fe80::5', circuit_id: 'beef', remote_id: null },
        state: 'bound',
      },
    ])
  })

  test('a host that declines its address is told it no longer', async () => {
    const { relay6, leases, context } = await opened6()
    const server = serverId(context)
    const named = iaNa(7, [address('2001:db8::5')])
    const asked = plain('request', one, server, named)
    expect((await relay6.ask(asked)).at(-1)).toContain('2001:db8::5=2250-3600')
    await relay6.ask(plain('decline', one, server, named))
    expect((await relay6.ask(asked)).at(-1)).toContain('na(7 0-0 status=2)')
    expect(leases.news.map(({ state }) => state)).toEqual(['bound', 'declined'])
  })

  test('a client that releases its address is unknown again', async () => {
    const { relay6, leases, served: known, context } = await opened6()
    const server = serverId(context)
    const named = iaNa(7, [address('2001:db8::100')])
    await relay6.ask(plain('solicit', unknown, iaNa(7, [])))
    await relay6.ask(plain('request', unknown, server, named))
    await relay6.ask(plain('release', unknown, server, named))
    expect(leases.news.map(({ state }) => state)).toEqual(['bound', 'released'])
    known.get(networkId)?.hosts.delete(`duid:${duidLL(macs.unknown)}/7`)
    const renewed = await relay6.ask(plain('renew', unknown, server, named))
    expect(renewed.at(-1)).toContain('na(7 0-0 status=3)')
    expect((await relay6.ask(plain('solicit', unknown, iaNa(7, [])))).at(-1)).toContain('::101')
  })

  test('an unknown client has an address allocated, which lasts as long as its lease', async () => {
    const { relay6, leases, served: known } = await opened6({ config: { rapid_commit: true } })
    const solicit = plain('solicit', unknown, iaNa(7, []))
    expect((await relay6.ask(solicit)).at(-1)).toContain('2001:db8::100=375-600')
    const id = `duid:${duidLL(macs.unknown)}/7`
    const endsIn = () => {
      const [first] = known.get(networkId)?.hosts.get(id)?.addresses ?? []
      return (Date.parse(String(first?.expires_at)) - Date.now()) / 1000
    }
    expect(endsIn()).toBeLessThanOrEqual(120)
    const rebind = plain('rebind', unknown, iaNa(7, [address('2001:db8::100')]))
    expect((await relay6.ask(rebind)).at(-1)).toMatch(/2001:db8::100=375-(600|599)/)
    expect(endsIn()).toBeGreaterThan(500)
    expect(leases.news).toMatchObject([{ address: '2001:db8::100', state: 'bound' }])
  })
})

test('what cannot be served is a problem, and keeps nothing else from being served', async () => {
  const { relay4, driver, put } = await served()
  const wrong = (address: string) =>
    hostOf('wrong', [{ address }], { mac_address: '52:54:00:00:00:09' })
  await put(wrong('2001:db8::x'))
  expect(driver.problems()).toEqual([expect.stringMatching(/^host wrong cannot be served/)])
  expect(await relay4.ask({ options: discover })).toMatchObject({ yiaddr: '10.0.0.5' })
  await put(wrong('2001:db8::9'))
  expect(driver.problems()).toEqual([])
  const network = networkOf([subnet4({ options: [{ code: 3, value: ['nowhere'] }] })])
  await driver.apply([{ type: 'network', network }])
  expect(driver.problems()).toEqual([expect.stringMatching(/^network .* cannot be served/)])
  await driver.apply([{ type: 'network_gone', network_id: networkId }])
  expect(driver.problems()).toEqual([])
})

test('a server that is to listen nowhere says so', async () => {
  const { context } = contextOf({
    config: {},
    networks: [{ network: networkOf([]), hosts: [] }],
  })
  await expect(createBuiltinAt({ 4: 1067, 6: 1547 })(context).start()).rejects.toThrow(
    /relay_listen has no address/,
  )
})

test('a server that cannot be heard at all does not start', async () => {
  const relay_listen = [{ address: '192.0.2.1' }]
  const { context } = contextOf({
    config: { relay_listen },
    networks: [{ network: networkOf([]), hosts: [] }],
  })
  const ports = { 4: await findFreePort(), 6: await findFreePort() } as const
  const start = createBuiltinAt(ports)(context).start()
  await expect(start).rejects.toThrow(DiscoveryError)
  await expect(start).rejects.toThrow(/192\.0\.2\.1/)
})
