import { describe, expect, test } from 'vitest'
import { mergeOptions, type OptionSource, type SetOption } from './configuration.ts'

const block = {
  id: 'b',
  cidr: '10.0.0.0/22',
  version: 4,
  gateway_ip: '10.0.0.1',
  dns_nameservers: ['10.0.0.2', '2001:db8::2'],
  routes: [],
} as const
const own: OptionSource = { type: 'block', id: 'b' }
const parent: OptionSource = { type: 'block', id: 'p' }
const network: OptionSource = { type: 'network', id: 'n' }
const scope: OptionSource = { type: 'address_scope', id: 's' }
const nic: OptionSource = { type: 'interface', id: 'i' }
const on = (source: OptionSource, code: number, value: unknown): SetOption => ({
  code,
  value,
  source,
  derived_from: null,
})
const merged = (facts: Parameters<typeof mergeOptions>[0], ...set: SetOption[]) =>
  mergeOptions(facts, set).map(({ option: { code }, value, source, derived_from }) => [
    code,
    value,
    `${source.type} ${source.id}`,
    derived_from,
  ])
const bare = { ...block, gateway_ip: null, dns_nameservers: [] }
const mask = [1, '255.255.252.0', 'block b', 'cidr']

describe('the options of a block', () => {
  test('are worked out from what it says', () => {
    expect(merged(block)).toEqual([
      mask,
      [3, ['10.0.0.1'], 'block b', 'gateway_ip'],
      [6, ['10.0.0.2'], 'block b', 'dns_nameservers'],
    ])
    expect(merged({ ...bare, cidr: '0.0.0.0/0' })).toEqual([[1, '0.0.0.0', 'block b', 'cidr']])
    const host = merged({ ...bare, cidr: '10.0.0.1/32' })
    expect(host).toEqual([[1, '255.255.255.255', 'block b', 'cidr']])
  })

  test('are those of the nearest that sets them', () => {
    const set = [nic, own, parent, network, scope].map((source, n) => on(source, 26, 1500 + n))
    for (const [n, { source, value }] of set.entries()) {
      const expected = [26, value, `${source.type} ${source.id}`, null]
      expect(merged(bare, ...set.slice(n))).toEqual([mask, expected])
    }
  })

  test('are worked out where nothing as near is set', () => {
    const dns = (source: OptionSource) => on(source, 6, ['192.0.2.1'])
    const derived = [6, ['10.0.0.2'], 'block b', 'dns_nameservers']
    expect(merged(block, dns(network))[2]).toEqual(derived)
    expect(merged(block, dns(parent))[2]).toEqual(derived)
    expect(merged(block, dns(own))[2]).toEqual([6, ['192.0.2.1'], 'block b', null])
    expect(merged(block, dns(nic))[2]).toEqual([6, ['192.0.2.1'], 'interface i', null])
    expect(merged(bare, dns(scope))[1]).toEqual([6, ['192.0.2.1'], 'address_scope s', null])
  })

  test('have the MTU of their network behind the one that is set on it', () => {
    const said = { ...on(network, 26, 1450), derived_from: 'mtu' as const }
    expect(merged(bare, said, on(scope, 26, 1400))[1]).toEqual([26, 1450, 'network n', 'mtu'])
    const set = merged(bare, on(network, 26, 1430), said)
    expect(set[1]).toEqual([26, 1430, 'network n', null])
  })

  test('of IPv6 know neither masks nor routers', () => {
    const facts = { ...block, cidr: '2001:db8::/64', version: 6, gateway_ip: 'fe80::1' } as const
    const routes = [{ destination: '2001:db8:1::/48', gateway: 'fe80::1' }]
    const dns = [23, ['2001:db8::2'], 'block b', 'dns_nameservers']
    expect(merged({ ...facts, routes })).toEqual([dns])
  })
})

describe('the routes of a block', () => {
  const routes = [{ destination: '192.0.2.0/24', gateway: '10.0.0.9' }]
  const byDefault = (gateway: string) => ({ destination: '0.0.0.0/0', gateway })
  const routesOf = (...given: Parameters<typeof merged>) =>
    merged(...given).find(([code]) => code === 121)

  test('come with its router as the default route, which is passed over otherwise', () => {
    const value = [byDefault('10.0.0.1'), ...routes]
    expect(routesOf({ ...block, routes })).toEqual([121, value, 'block b', 'routes'])
    expect(routesOf({ ...block, routes }, on(own, 3, ['10.0.0.7']))?.[1]).toEqual([
      byDefault('10.0.0.7'),
      ...routes,
    ])
    expect(routesOf({ ...bare, routes }, on(scope, 3, ['10.0.0.8']))?.[1]).toEqual([
      byDefault('10.0.0.8'),
      ...routes,
    ])
    expect(routesOf({ ...bare, routes })?.[1]).toEqual(routes)
  })

  test('may have a default route of their own', () => {
    const all = [...routes, byDefault('10.0.0.3')]
    expect(routesOf({ ...block, routes: all })?.[1]).toEqual(all)
  })

  test('give way to classless routes that are set on the block, not to those further off', () => {
    const set = [{ destination: '198.51.100.0/24', gateway: '10.0.0.4' }]
    expect(routesOf({ ...block, routes }, on(own, 121, set))?.[1]).toEqual(set)
    expect(routesOf({ ...block, routes }, on(network, 121, set))?.[1]).toHaveLength(2)
    expect(routesOf(block, on(network, 121, set))).toEqual([121, set, 'network n', null])
  })
})
