import { describe, expect, test } from 'vitest'
import { blocks, hostOf, networkId, networkOf, subnet4 } from '../../../test/helpers/dhcp-served.ts'
import type { ServedHost, ServedSubnet } from '../../dhcp/served.ts'
import { createBindings } from '../../dhcp/v4/bindings.ts'
import { createFacts4, type Facts4Options } from './facts4.ts'
import { createWithheld } from './withheld.ts'

const mac = '52:54:00:00:00:01'
const macNumber = 0x525400000001

function opened(more: Partial<Facts4Options> = {}) {
  const bindings = createBindings()
  const facts = createFacts4({
    bindings,
    withheld: createWithheld(),
    relaysOf: () => [],
    lease_seconds: 3600,
    rapid_commit: false,
    ...more,
  })
  const put = (subnets: readonly ServedSubnet[], ...hosts: ServedHost[]) =>
    facts.putNetwork(networkOf(subnets), hosts)
  const linkOf = () => {
    const link = bindings.link(networkId)
    if (!link) throw new Error('there is no link')
    return link
  }
  const find = (number: number | null = macNumber, client_id?: string) =>
    bindings.hostOf(linkOf(), number, client_id ? Buffer.from(client_id, 'hex') : undefined)
  return { bindings, facts, put, linkOf, find }
}

const hexOf = (value: Uint8Array | undefined) => value && Buffer.from(value).toString('hex')

describe('a network', () => {
  test('is a link with its subnets of IPv4, and what is told there', () => {
    const { facts, linkOf } = opened({ rapid_commit: true })
    facts.putNetwork(networkOf([subnet4({}, 600)], { mtu: 1400 }), [])
    const link = linkOf()
    expect(link).toMatchObject({
      id: networkId,
      relays: [],
      is_authoritative: true,
      lease_seconds: 3600,
      rapid_commit: true,
      mtu: 1400,
      subnets: [
        { id: blocks.v4, first: 0x0a000000, length: 24, automatic: { lease_seconds: 600 } },
      ],
    })
    const options = link.subnets[0]?.told.options
    expect([...(options?.keys() ?? [])]).toEqual([1, 3, 6])
    expect(hexOf(options?.get(6))).toBe('0a000035')
  })

  test('is found by the relays that are named for it', () => {
    const relays = [
      { address: '10.9.0.1' },
      { address: '10.9.0.2', circuit_id: 'port 7' },
      { address: '10.9.0.2', circuit_id: '0x00ff' },
      { address: '2001:db8::9' },
    ]
    const { put, linkOf } = opened({ relaysOf: () => relays })
    put([subnet4()])
    expect(linkOf().relays).toEqual([
      { giaddr: 0x0a090001, circuit_id: null },
      { giaddr: 0x0a090002, circuit_id: Buffer.from('port 7').toString('hex') },
      { giaddr: 0x0a090002, circuit_id: '00ff' },
    ])
  })

  test('says what boots: for architectures, or for all where none are named', () => {
    const boot_files = [
      { architectures: [7, 9], server: null, file: 'grub.efi' },
      { architectures: [], server: '10.0.0.8', file: 'pxelinux.0' },
    ]
    const { put, linkOf } = opened()
    put([subnet4({ boot_files })])
    const boots = linkOf().subnets[0]?.told.boots.map(({ architectures, file }) => ({
      architectures,
      file: Buffer.from(file).toString(),
    }))
    expect(boots?.slice(0, 2)).toEqual([
      { architectures: [7, 9], file: 'grub.efi' },
      { architectures: null, file: 'pxelinux.0' },
    ])
  })

  test('takes its hosts along when it changes, and when it goes', () => {
    const { bindings, facts, put, find } = opened()
    const host = hostOf('i', ['10.0.0.5'], { mac_address: mac })
    put([subnet4()], host)
    const before = find()?.reservations[0]?.told
    put([subnet4({ options: [{ code: 26, value: 1400 }] })], host)
    const after = find()?.reservations[0]?.told
    expect([before, after].map(told => told?.options.has(26))).toEqual([false, true])
    facts.dropNetwork(networkId)
    expect(bindings.link(networkId)).toBeNull()
    expect(facts.putHost(networkId, host)).toBeNull()
  })
})

describe('a host', () => {
  test('has its addresses of IPv4, in their order, and shares what its subnet tells', () => {
    const { put, find, linkOf } = opened()
    const expires_at = '2026-01-01T00:00:00Z'
    const withheld_until = '2026-01-01T00:10:00Z'
    const elsewhere = { address: '10.7.0.1', block_id: networkId }
    const addresses = ['10.0.0.9', '2001:db8::5', elsewhere, { address: '10.0.0.5', expires_at }]
    const more = { mac_address: mac, client_id: 'ff01', host_name: 'vm' }
    put([subnet4()], hostOf('i', [...addresses, { address: '10.0.0.7', withheld_until }], more))
    const host = find()
    expect(host).toMatchObject({ id: 'i', is_automatic: false, host_name: 'vm' })
    expect(find(null, 'ff01')).toBe(host)
    const times = host?.reservations.map(one => [one.text, one.expires_at, one.declined_until])
    expect(times).toEqual([
      ['10.0.0.9', null, null],
      ['10.0.0.5', Date.parse(expires_at), null],
      ['10.0.0.7', null, Date.parse(withheld_until)],
    ])
    expect(host?.reservations[0]).toMatchObject({
      allocation_id: 'allocation of 10.0.0.9',
      address: 0x0a000009,
    })
    for (const { told } of host?.reservations ?? []) expect(told).toBe(linkOf().subnets[0]?.told)
  })

  test('is told its own options where it has some, once for all that have the same', () => {
    const { put, find } = opened()
    const options = [{ block_id: blocks.v4, options: [{ code: 26, value: 9000 }] }]
    const hosts = [1, 2].map(n =>
      hostOf(`i${n}`, [`10.0.0.${n}`], { mac_address: `52:54:00:00:00:0${n}`, options }),
    )
    put([subnet4()], ...hosts)
    const told = [1, 2].map(n => find(0x525400000000 + n)?.reservations[0]?.told)
    expect([...(told[0]?.options.keys() ?? [])]).toEqual([26])
    expect(told[1]).toBe(told[0])
  })

  test('that came by itself is known by what it came with, and not here by a DUID', () => {
    const { put, find } = opened()
    const names = { type: 'client' as const }
    put(
      [subnet4()],
      hostOf(mac, ['10.0.0.5'], { ...names, mac_address: mac }),
      hostOf('client-id:aa', ['10.0.0.6'], { ...names, client_id: 'aa' }),
      hostOf('duid:0001/7', ['2001:db8::7'], { ...names, duid: '0001', iaid: 7 }),
    )
    expect(find()).toMatchObject({ id: mac, is_automatic: true })
    expect(find(null, 'aa')?.reservations[0]?.text).toBe('10.0.0.6')
    expect(find(null, '0001')).toBeNull()
  })

  test('goes', () => {
    const { facts, put, find } = opened()
    put([subnet4()], hostOf('i', ['10.0.0.5'], { mac_address: mac }))
    facts.dropHost(networkId, 'i')
    expect(find()).toBeNull()
  })
})

test('an address that was declined is withheld until the API says of it, and then as it says', () => {
  const { facts, put, find, linkOf } = opened()
  const now = Date.UTC(2026, 0, 1)
  const host = hostOf('i', ['10.0.0.5', '10.0.0.6'], { mac_address: mac })
  const until = () => find()?.reservations.map(one => one.declined_until)
  put([subnet4()], host)
  const bound = find()
  if (!bound) throw new Error('there is no host')
  facts.withhold(linkOf(), bound, 'allocation of 10.0.0.5', now)
  expect(until()).toEqual([now + 600_000, null])
  facts.putHost(networkId, host) // It was not heard of there yet.
  expect(until()).toEqual([now + 600_000, null])
  const withheld_until = new Date(now + 60_000).toISOString()
  facts.putHost(
    networkId,
    hostOf('i', [{ address: '10.0.0.5', withheld_until }], { mac_address: mac }),
  )
  expect(until()).toEqual([now + 60_000])
  facts.putHost(networkId, host)
  expect(until()).toEqual([null, null])
})

test('a network of 65,533 hosts is taken over in a moment', () => {
  const { put, find } = opened()
  const hosts = Array.from({ length: 65_533 }, (_, n) => {
    const digits = n.toString(16).padStart(4, '0')
    const mac_address = `52:54:00:00:${digits.slice(0, 2)}:${digits.slice(2)}`
    return hostOf(`i${n}`, [`10.0.${n >> 8}.${n & 255}`], { mac_address })
  })
  const subnet = subnet4({ cidr: '10.0.0.0/16' })
  put([subnet], ...hosts)
  const { user, system } = process.cpuUsage()
  put([{ ...subnet, gateway_ip: null }], ...hosts)
  const used = process.cpuUsage({ user, system })
  expect(find(0x52540000ffff - 3)?.reservations[0]?.text).toBe('10.0.255.252')
  expect((used.user + used.system) / 1000).toBeLessThan(1500) // It is about 150.
})
