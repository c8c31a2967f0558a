import { expect, test } from 'vitest'
import type { ApiEvent } from './api.ts'
import { staleAfter } from './stale.ts'

const wanted = new Set(['n1', 'n2'])
const replica = {
  networkOfBlock: (id: string) => (id === 'b1' ? 'n1' : null),
  networkOfHost: (id: string) => (id === 'i1' ? 'n1' : null),
}
const event = (type: string, object_id: string, data: ApiEvent['data'] = {}): ApiEvent => ({
  cursor: '1',
  at: '2030-01-01T00:00:00.000000Z',
  project_id: null,
  type,
  object_id,
  data,
})
const option = (type: string, id: string) =>
  event('dhcp_option.created', 'o', { attached_to: { type, id } })
const own = { owner_type: 'interface', owner_id: 'i1' }
const client = { owner_type: 'dhcp_client', owner_id: '52:54:00:00:00:01' }

test.each<[string, ApiEvent, string[], [string, string][]]>([
  ['a network', event('network.updated', 'n1'), ['n1'], []],
  ['a network that is not served', event('network.updated', 'n9'), [], []],
  ['a subnet', event('block.updated', 'b1', { network_id: 'n1' }), ['n1'], []],
  ['a new subnet', event('block.created', 'b9', { network_id: 'n2' }), ['n2'], []],
  ['a new block elsewhere', event('block.created', 'b9', { network_id: null }), [], []],
  ['a block that may be above', event('block.updated', 'b9'), ['n1', 'n2'], []],
  ['how full a block is', event('block.threshold_reached', 'b1'), [], []],
  ['a route', event('block_route.deleted', 'r', { block_id: 'b1' }), ['n1'], []],
  ['an address scope', event('address_scope.updated', 's'), ['n1', 'n2'], []],
  ['a policy', event('policy.updated', 'p'), ['n1', 'n2'], []],
  ['an option of a network', option('network', 'n2'), ['n2'], []],
  ['an option of an interface', option('interface', 'i1'), [], [['n1', 'i1']]],
  ['an option of a block', option('block', 'b7'), ['n1', 'n2'], []],
  ['a new interface', event('interface.created', 'i9', { network_id: 'n2' }), [], [['n2', 'i9']]],
  ['an interface elsewhere', event('interface.created', 'i9', { network_id: 'n9' }), [], []],
  ['one that goes', event('interface.deleted', 'i1', { network_id: 'n1' }), [], [['n1', 'i1']]],
  [
    'one that moves',
    event('interface.updated', 'i1', { network_id: 'n2' }),
    [],
    [
      ['n1', 'i1'],
      ['n2', 'i1'],
    ],
  ],
  ['its address', event('allocation.created', 'a', { ...own, block_id: 'b1' }), [], [['n1', 'i1']]],
  ['its prefix', event('allocation.expired', 'a', { ...own, block_id: 'b9' }), [], [['n1', 'i1']]],
  [
    'an address of a client',
    event('allocation.renewed', 'a', { ...client, block_id: 'b1' }),
    [],
    [['n1', client.owner_id]],
  ],
  ['one elsewhere', event('allocation.created', 'a', { ...client, block_id: 'b9' }), [], []],
  ['one of an instance', event('allocation.created', 'a', { block_id: 'b1' }), [], []],
  ['its MAC', event('mac.created', 'm', { interface_id: 'i1' }), [], [['n1', 'i1']]],
  ['a declined address', event('lease.declined', 'a', { ...own }), [], [['n1', 'i1']]],
  ['what nobody knows yet', event('cloud.rained', 'c'), [], []],
])('%s', (_what, one, networks, hosts) => {
  const stale = staleAfter([one], replica, wanted)
  expect([...stale.networks]).toEqual(networks)
  expect([...stale.whole]).toEqual([])
  expect([...stale.hosts].flatMap(([id, ids]) => [...ids].map(host => [id, host]))).toEqual(hosts)
})

test('a block that comes to a network may bring its hosts along', () => {
  const stale = staleAfter([event('block.updated', 'b1', { network_id: 'n2' })], replica, wanted)
  expect([...stale.networks]).toEqual(['n1', 'n2'])
  expect([...stale.whole]).toEqual(['n2'])
})
