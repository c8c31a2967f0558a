import { describe, expect, test } from 'vitest'
import {
  blocks,
  hostOf,
  networkId,
  networkOf,
  subnet4,
  subnet6,
} from '../../../test/helpers/dhcp-served.ts'
import type { ServedHost, ServedSubnet } from '../../dhcp/served.ts'
import { BindingTable } from '../../dhcp/v6/binding-table.ts'
import { addressBytes } from '../../dhcp/v6/bindings.ts'
import { createFacts6, type Facts6Options } from './facts6.ts'
import { createWithheld } from './withheld.ts'

const mac = '52:54:00:00:00:01'
const duid = '00030001525400000002'

function opened(more: Partial<Facts6Options> = {}) {
  const bindings = new BindingTable()
  const facts = createFacts6({
    bindings,
    withheld: createWithheld(),
    relaysOf: () => [],
    lease_seconds: 3600,
    rapid_commit: true,
    ...more,
  })
  const put = (subnets: readonly ServedSubnet[], ...hosts: ServedHost[]) =>
    facts.putNetwork(networkOf(subnets), hosts)
  const linkOf = () => {
    const link = bindings.link(networkId)
    if (!link) throw new Error('there is no link')
    return link
  }
  const byMac = () => linkOf().hostOfMac('525400000001')
  const byDuid = (iaid: number | null) => linkOf().hostOfClient(Buffer.from(duid, 'hex'), iaid)
  return { bindings, facts, put, linkOf, byMac, byDuid }
}

describe('a network', () => {
  test('is a link with its prefixes, and options for whoever asks for no more', () => {
    const { put, linkOf } = opened()
    put([subnet4(), subnet6({}, 600)])
    const link = linkOf()
    expect(link).toMatchObject({ isAutomatic: true, hasRapidCommit: true })
    expect([...(link.options?.keys() ?? [])]).toEqual([23])
    expect(link.isOnLink(addressBytes('2001:db8::9'))).toBe(true)
    expect(link.isOnLink(addressBytes('2001:db9::9'))).toBe(false)
  })

  test('without IPv6 is none, nor is one that has lost it', () => {
    const { bindings, put } = opened()
    put([subnet4()])
    expect(bindings.link(networkId)).toBeUndefined()
    put([subnet6()])
    expect(bindings.linkOfInterface(networkId)?.id).toBe(networkId)
    put([subnet4()])
    expect(bindings.linkOfInterface(networkId)).toBeUndefined()
  })

  test('is found by the relays that are named for it', () => {
    const relays = [{ address: '10.9.0.1' }, { address: '2001:db8::9', circuit_id: 'port 7' }]
    const { bindings, put } = opened({ relaysOf: () => relays })
    put([subnet6()])
    const linkAddress = addressBytes('::')
    const at = (text: string, id: string) =>
      bindings.linkOfRelay({
        address: addressBytes(text),
        linkAddress,
        interfaceId: Buffer.from(id),
      })?.id
    expect(at('2001:db8::9', 'port 7')).toBe(networkId)
    expect(at('2001:db8::9', 'port 8')).toBeUndefined()
  })
})

describe('a host', () => {
  test('has its addresses and prefixes, with lifetimes', () => {
    const { put, byMac } = opened()
    const expires_at = '2026-01-01T00:00:00Z'
    const withheld_until = '2026-01-01T00:10:00Z'
    const prefix = { address: '2001:db8:5::/56', block_id: networkId, expires_at }
    const addresses = ['10.0.0.9', { address: '2001:db8::5', withheld_until }, prefix]
    put([subnet6()], hostOf('i', addresses, { mac_address: mac }))
    const host = byMac()
    expect(host).toMatchObject({
      id: 'i',
      isAutomatic: false,
      preferredLifetime: 2250,
      validLifetime: 3600,
      addresses: [
        {
          allocationId: 'allocation of 2001:db8::5',
          text: '2001:db8::5',
          endsAt: null,
          withheldUntil: Date.parse(withheld_until) / 1000,
        },
      ],
      prefixes: [{ text: '2001:db8:5::/56', endsAt: Date.parse(expires_at) / 1000 }],
    })
  })

  test('is known by its DUID, with an IAID or without', () => {
    const { put, byDuid } = opened()
    put([subnet6()], hostOf('i', ['2001:db8::5'], { duid }))
    expect([7, 8, null].map(iaid => byDuid(iaid)?.id)).toEqual(['i', 'i', 'i'])
    put([subnet6()], hostOf('i', ['2001:db8::5'], { duid, iaid: 7 }))
    expect([7, 8, null].map(iaid => byDuid(iaid)?.id)).toEqual(['i', undefined, 'i'])
  })

  test('that came by itself is known by its DUID alone, and not here by a MAC', () => {
    const { put, byDuid, byMac } = opened()
    const client = { type: 'client' as const, mac_address: mac }
    put(
      [subnet6({}, 600)],
      hostOf(`duid:${duid}/7`, ['2001:db8::5'], { ...client, duid, iaid: 7 }),
      hostOf(mac, ['10.0.0.5'], client),
    )
    expect(byMac()).toBeUndefined()
    expect(byDuid(7)).toMatchObject({
      isAutomatic: true,
      preferredLifetime: 375,
      validLifetime: 600,
    })
  })

  test('is told what all are told in its subnets, or its own options', () => {
    const { put, byMac } = opened()
    const second = subnet6({
      block_id: networkId,
      cidr: '2001:db8:1::/64',
      options: [
        { code: 23, value: ['2001:db8:1::53'] },
        { code: 31, value: ['2001:db8:1::123'] },
      ],
    })
    const inSecond = { address: '2001:db8:1::5', block_id: networkId }
    const optionsOf = (...addresses: Parameters<typeof hostOf>[1]) => {
      put([subnet6(), second], hostOf('i', addresses, { mac_address: mac }))
      const options = byMac()?.options
      return [...(options?.keys() ?? [])].map(code => [
        code,
        options?.get(code)?.[0]?.data.toString('hex').slice(-2),
      ])
    }
    expect(optionsOf('2001:db8::5')).toEqual([[23, '53']])
    expect(optionsOf(inSecond)).toEqual([
      [23, '53'],
      [31, '23'],
    ])
    expect(optionsOf('2001:db8::5', inSecond).map(([code]) => code)).toEqual([23, 31])
    expect(optionsOf().map(([code]) => code)).toEqual([23, 31])
    const options = [{ block_id: blocks.v6, options: [{ code: 24, value: ['example.org'] }] }]
    put([subnet6(), second], hostOf('i', ['2001:db8::5'], { mac_address: mac, options }))
    expect([...(byMac()?.options.keys() ?? [])]).toEqual([24])
  })

  test('goes', () => {
    const { facts, put, byMac } = opened()
    put([subnet6()], hostOf('i', ['2001:db8::5'], { mac_address: mac }))
    facts.dropHost(networkId, 'i')
    facts.dropHost(blocks.v6, 'i')
    expect(byMac()).toBeUndefined()
  })
})

test('an address that was declined is withheld, also when its host is put again', () => {
  const { facts, put, byMac } = opened()
  const served = hostOf('i', ['2001:db8::5'], { mac_address: mac })
  put([subnet6()], served)
  const host = byMac()
  const [lease] = host?.addresses ?? []
  if (!host || !lease) throw new Error('there is no host')
  facts.withhold(networkId, host, lease, 1000)
  expect(byMac()?.addresses[0]?.withheldUntil).toBe(1600)
  facts.putHost(networkId, served)
  expect(byMac()?.addresses[0]?.withheldUntil).toBe(1600)
})

test('what is allocated lasts as long as the subnet says, and not longer than a lease', () => {
  const { facts, put } = opened()
  put([subnet6({}, 600)])
  expect(facts.automaticSeconds(networkId)).toBe(600)
  put([subnet6({}, 7200)])
  expect(facts.automaticSeconds(networkId)).toBe(3600)
})
