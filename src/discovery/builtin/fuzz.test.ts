import { pino } from 'pino'
import { Registry } from 'prom-client'
import { expect, test } from 'vitest'
import { contextOf } from '../../../test/helpers/dhcp-context.ts'
import {
  blocks,
  hostOf,
  networkId,
  networkOf,
  subnet4,
  subnet6,
} from '../../../test/helpers/dhcp-served.ts'
import { mutated, packetOf, randomBytes } from '../../../test/helpers/dhcp4-packets.ts'
import { addressOption, messages, option } from '../../../test/helpers/dhcp4-world.ts'
import * as packets6 from '../../../test/helpers/dhcp6.ts'
import { Random } from '../../../test/helpers/random.ts'
import { createBindings } from '../../dhcp/v4/bindings.ts'
import { decodeMessage as decode4, isMalformed } from '../../dhcp/v4/codec.ts'
import { BindingTable } from '../../dhcp/v6/binding-table.ts'
import { decodeMessage as decode6 } from '../../dhcp/v6/codec.ts'
import { serverOf } from '../../dhcp/v6/engine.ts'
import { createFacts4 } from './facts4.ts'
import { createFacts6 } from './facts6.ts'
import { createFlow4 } from './flow4.ts'
import { createFlow6 } from './flow6.ts'
import { createMetrics } from './metrics.ts'
import { createWishes } from './wishes.ts'
import { createWithheld } from './withheld.ts'

// Whatever bytes come, bytes go out that are messages, or none; nothing throws, nothing stands still.

const network = networkOf([subnet4({}, 600), subnet6({}, 600)])
const macs = [1, 2, 3].map(n => `52540000000${n}`)
const hosts = macs.slice(0, 2).map((mac, n) =>
  hostOf(`i${n}`, [`10.0.0.${n + 5}`, `2001:db8::${n + 5}`, `2001:db8:${n + 5}::/56`], {
    mac_address: mac.match(/../g)?.join(':') ?? null,
    host_name: `vm-${n}`,
  }),
)

function opened() {
  const pools = {
    [`${networkId} 4`]: { block_id: blocks.v4, first: '10.0.0.100' },
    [`${networkId} 6`]: { block_id: blocks.v6, first: '2001:db8::100' },
  }
  const { context, leases } = contextOf({ config: {}, networks: [{ network, hosts }] }, { pools })
  const errors: unknown[] = []
  const log = pino({ level: 'debug' }, { write: line => void noteError(line) })
  const noteError = (line: string) => {
    const { level, err } = JSON.parse(line)
    if (level >= 50) errors.push(err)
  }
  const wishes = createWishes({ log })
  const metrics = createMetrics({ registry: new Registry(), wishes, drops: () => 0 })
  const ways = {
    withheld: createWithheld(),
    relaysOf: () => [],
    lease_seconds: 3600,
    rapid_commit: true,
  }
  const common = { ...context, wishes, metrics, log, durable_leases: true }
  const bindings4 = createBindings()
  const facts4 = createFacts4({ ...ways, bindings: bindings4 })
  const bindings6 = new BindingTable()
  const facts6 = createFacts6({ ...ways, bindings: bindings6 })
  const server = serverOf(packets6.packet(packets6.serverDuid))
  const put = () => {
    facts4.putNetwork(network, hosts)
    facts6.putNetwork(network, hosts)
  }
  put()
  return {
    flow4: createFlow4({ ...common, bindings: bindings4, facts: facts4 }),
    flow6: createFlow6({ ...common, server, bindings: bindings6, facts: facts6 }),
    leases,
    errors,
    put,
  }
}

const place = { link_id: networkId, takes_remote: true }

function packets4(): Uint8Array[] {
  const { discover, request, decline, release, inform } = messages
  const server = addressOption(54, '10.0.0.2')
  const said = option(55, '0103060c1a2b4243') + option(12, '766d') + option(61, '01aa')
  const relay = option(82, '0102beef0203cafe001300')
  return macs.flatMap((mac, n) => {
    const wanted = addressOption(50, `10.0.0.${n + 5}`)
    const own = { mac, ciaddr: `10.0.0.${n + 5}` }
    return [
      { mac, options: discover + said },
      { mac, options: `${discover}5000${said}` },
      { mac, options: request + server + wanted + said },
      { mac, options: discover + said + relay, giaddr: '10.0.0.1' },
      { mac, options: request + wanted + said + relay, giaddr: '10.0.0.1' },
      { ...own, options: request + said },
      { ...own, options: release + server },
      { ...own, options: inform + said },
      { mac, options: decline + server + wanted },
    ].map(packetOf)
  })
}

function packets6Of(): Uint8Array[] {
  const { plain, clientId, duidLL, iaNa, iaPd, option: option6, serverId, wants } = packets6
  return macs.flatMap((mac, n) => {
    const common = [clientId(duidLL(mac)), wants(23, 24), option6(39, '0102766d00')]
    const named = iaNa(7, [packets6.address(`2001:db8::${n + 5}`)])
    const direct = [
      plain('solicit', ...common, iaNa(7, []), iaPd(8, [])),
      plain('solicit', ...common, packets6.rapid, named),
      plain('request', ...common, serverId, named),
      plain('renew', ...common, serverId, named),
      plain('rebind', ...common, named),
      plain('release', ...common, serverId, named),
      plain('decline', ...common, serverId, named),
      plain('inform', ...common),
    ]
    const ends = ['2001:db8::1', 'fe80::5'] as const
    const extra = [option6(18, 'beef'), option6(37, '00000009cafe'), option6(135, '0000')]
    const forwarded = direct.map(hex =>
      packets6.relayed('forward', 0, ends, ...extra, packets6.holding(hex)),
    )
    return [...direct, ...forwarded].map(packets6.packet)
  })
}

const rounds = 4000

test('DHCPv4: no bytes do any harm', async () => {
  const { flow4, leases, errors, put } = opened()
  const random = new Random(67)
  const packets = packets4()
  const sent: Uint8Array[] = []
  const door = {
    ...place,
    is_unicast: false,
    server: 0x0a000002,
    servers: new Set([0x0a000002]),
    send(bytes: Uint8Array, port: number, address: string) {
      expect(port).toBeLessThan(65_536)
      expect(address).toMatch(/^\d+\.\d+\.\d+\.\d+$/)
      sent.push(bytes)
    },
  }
  for (let n = 0; n < rounds; n += 1) {
    const whole = packets[n] ?? random.pick(packets) ?? new Uint8Array()
    const changed = n % 20 === 0 ? randomBytes(random, random.below(700)) : mutated(random, whole)
    const packet = n < packets.length ? whole : changed
    flow4.receive(packet, { address: '10.0.0.9', port: 68 }, door)
    if (n % 100 === 99) {
      await new Promise(resolve => setImmediate(resolve))
      put() // What was declined or released does not make it quiet.
    }
  }
  await new Promise(resolve => setImmediate(resolve))
  expect(errors).toEqual([])
  expect(sent.length).toBeGreaterThan(500)
  for (const bytes of sent) expect(isMalformed(decode4(bytes))).toBe(false)
  for (const { address, host_name } of leases.news) {
    expect(address).toMatch(/^10\.0\.0\.\d+$/)
    expect(host_name ?? 'x').toMatch(/^[!-~]{1,255}$/)
  }
})

test('DHCPv6: no bytes do any harm', async () => {
  const { flow6, leases, errors, put } = opened()
  const random = new Random(547)
  const packets = packets6Of()
  const sent: Uint8Array[] = []
  const door = {
    ...place,
    is_unicast: false,
    send(bytes: Uint8Array, port: number, address: string) {
      expect([546, 547, 1547]).toContain(port)
      expect(address).toBe('fe80::9%eth0')
      sent.push(bytes)
    },
  }
  for (let n = 0; n < rounds; n += 1) {
    const whole = packets[n] ?? random.pick(packets) ?? new Uint8Array()
    const changed = Uint8Array.from(whole)
    for (let left = random.between(1, 3); left > 0; left -= 1) {
      changed[random.below(changed.length)] = random.below(256)
    }
    const cut = random.below(6) === 0 ? changed.subarray(0, random.below(changed.length)) : changed
    flow6.receive(n < packets.length ? whole : cut, { address: 'fe80::9%eth0', port: 1547 }, door)
    if (n % 100 === 99) {
      await new Promise(resolve => setImmediate(resolve))
      put()
    }
  }
  await new Promise(resolve => setImmediate(resolve))
  expect(errors).toEqual([])
  expect(sent.length).toBeGreaterThan(500)
  for (const bytes of sent) expect(decode6(bytes)).not.toHaveProperty('malformed')
  for (const { address } of leases.news) expect(address).toMatch(/^2001:db8:/)
})
