import { describe, expect, test } from 'vitest'
import { configOf } from '../../../test/helpers/dhcp-context.ts'
import type { Interface, Surroundings } from './interfaces.ts'
import { namespacesOf, type PlanInput, planSockets } from './plan.ts'

const ids = [1, 2, 3].map(n => `1111111${n}-1111-4111-8111-111111111111`)

const lo: Interface = {
  name: 'lo',
  index: 1,
  is_up: true,
  is_loopback: true,
  v4: ['127.0.0.1'],
  v6: ['::1'],
}
const eth = (n: number, more: Partial<Interface> = {}): Interface => ({
  name: `eth${n}`,
  index: 10 + n,
  is_up: true,
  is_loopback: false,
  v4: [`10.0.${n}.2`],
  v6: [`fe80::${n}`, `2001:db8:${n}::2`],
  ...more,
})
const around = (...interfaces: Interface[]): Surroundings => ({ number: 0, interfaces })

type World = {
  readonly networks?: readonly object[]
  readonly relay_listen?: readonly object[]
  readonly surroundings?: readonly (readonly [string | null, Surroundings | string])[]
  readonly cidrs?: readonly string[]
  readonly inherited?: readonly (readonly [string, number])[]
}

function planned(world: World) {
  const { networks = [{ interface: 'eth0' }], relay_listen = [], cidrs = ['10.0.0.0/24'] } = world
  const config = configOf({
    networks: networks.map((network, n) => ({ id: ids[n], ...network })),
    relay_listen,
  })
  const input: PlanInput = {
    config,
    cidrsOf: () => cidrs,
    surroundings: new Map(world.surroundings ?? [[null, around(lo, eth(0))]]),
    inherited: new Map(world.inherited),
  }
  const { sockets, ...rest } = planSockets(input)
  const addressOf = (key: string) => sockets.find(socket => socket.key === key)?.address
  const shown = sockets.map(socket => {
    const { address, network_id, takes_remote, is_unicast, fd } = socket
    const traits = [
      network_id === null ? '' : `network ${ids.indexOf(network_id) + 1}`,
      takes_remote ? 'remote' : '',
      is_unicast ? 'unicast' : '',
      fd === null ? '' : `fd ${fd}`,
      ...socket.groups.map(group => `joins ${group.address} on ${group.interface}`),
      socket.answers_from === socket.key ? '' : `answers from ${addressOf(socket.answers_from)}`,
    ]
    return `${address}: ${traits.filter(trait => trait !== '').join(', ')}`
  })
  return { ...rest, sockets, shown, config }
}

describe('an interface', () => {
  test('alone has a socket for its address, and one for what goes to all', () => {
    const { shown, problems, refusals, sockets } = planned({})
    expect(shown).toEqual([
      '10.0.0.2: network 1, unicast',
      '0.0.0.0: network 1, answers from 10.0.0.2',
    ])
    expect([problems, refusals]).toEqual([[], []])
    expect(sockets.map(({ server }) => server)).toEqual(['10.0.0.2', '10.0.0.2'])
  })

  test('with several addresses answers from one that machines reach directly', () => {
    const v4 = ['169.254.169.254', '10.0.0.2']
    const { shown } = planned({ surroundings: [[null, around(lo, eth(0, { v4 }))]] })
    expect(shown).toEqual([
      '169.254.169.254: network 1, unicast',
      '10.0.0.2: network 1, unicast',
      '0.0.0.0: network 1, answers from 10.0.0.2',
    ])
    const elsewhere = planned({
      surroundings: [[null, around(lo, eth(0, { v4: ['192.0.2.2'] }))]],
    })
    expect(elsewhere.shown).toContain('0.0.0.0: network 1, answers from 192.0.2.2')
  })

  test('of IPv6 has sockets that hear it alone', () => {
    expect(planned({ cidrs: ['2001:db8::/64'] }).shown).toEqual([
      'ff02::1:2%eth0: network 1, joins ff02::1:2 on eth0',
      'fe80::0%eth0: network 1, unicast',
    ])
  })

  test('beside others is refused for IPv4, and not for IPv6', () => {
    const surroundings = [[null, around(lo, eth(0), eth(1), eth(2), eth(3), eth(4))]] as const
    const { refusals, shown } = planned({ surroundings, cidrs: ['10.0.0.0/24', '2001:db8::/64'] })
    expect(refusals).toHaveLength(1)
    expect(refusals[0]).toMatch(/^interface eth0 .* \(eth1, eth2, eth3, …\).*BindToDevice=/)
    expect(shown).toHaveLength(2)
    const down = [[null, around(lo, eth(0), eth(1, { is_up: false }))]] as const
    expect(planned({ surroundings: down }).refusals).toEqual([])
  })

  test('beside others is served by a socket that is bound to it', () => {
    const world = {
      networks: [{ interface: 'eth0' }, { interface: 'eth1' }],
      surroundings: [[null, around(lo, eth(0), eth(1))]] as const,
    }
    const bound = planned({
      ...world,
      inherited: [
        ['eth0', 3],
        ['eth1', 4],
      ],
    })
    expect(bound.shown).toEqual(['0.0.0.0: network 1, fd 3', '0.0.0.0: network 2, fd 4'])
    expect(planned({ ...world, inherited: [['eth0', 3]] }).refusals).toHaveLength(1)
    expect(planned(world).refusals).toHaveLength(2)
  })

  test('in a namespace has nothing to do with those outside, and inherits nothing', () => {
    const world = {
      networks: [
        { interface: 'eth0', namespace: 'a' },
        { interface: 'eth0', namespace: 'b' },
      ],
      surroundings: [
        ['a', around(lo, eth(0))],
        ['b', around(lo, eth(0), eth(1))],
      ] as const,
      inherited: [['eth0', 3]] as const,
    }
    const { shown, refusals, config } = planned(world)
    expect(shown).toHaveLength(2)
    expect(shown[0]).toMatch(/network 1/)
    expect(refusals).toEqual([expect.stringMatching(/^interface eth0 in namespace b /)])
    expect([...namespacesOf(config)]).toEqual(['a', 'b'])
  })

  test.each([
    ['is not there', [lo], 'there is no interface eth0'],
    ['is down', [lo, eth(0, { is_up: false })], 'there is no interface eth0 that is up'],
    [
      'has no address',
      [lo, eth(0, { v4: [] })],
      'interface eth0 has no IPv4 address to answer from',
    ],
  ])('that %s is a problem for a time', (_name, interfaces, problem) => {
    const { problems, refusals, shown } = planned({ surroundings: [[null, around(...interfaces)]] })
    expect([problems, refusals, shown]).toEqual([[problem], [], []])
  })

  test('of two networks is refused', () => {
    const { refusals } = planned({ networks: [{ interface: 'eth0' }, { interface: 'eth0' }] })
    expect(refusals[0]).toBe('interface eth0 is given to more than one network')
  })

  test('that comes back under its name is another one', () => {
    const keysOf = (index: number, number = 0) =>
      planned({
        networks: [{ interface: 'eth0', namespace: 'a' }],
        cidrs: ['2001:db8::/64'],
        surroundings: [['a', { number, interfaces: [eth(0, { index })] }]],
      }).sockets.map(({ key }) => key)
    expect(keysOf(10)).toEqual(keysOf(10))
    expect(new Set([...keysOf(10), ...keysOf(11), ...keysOf(10, 1)]).size).toBe(6)
  })
})

describe('relays', () => {
  test('are heard at their addresses alone, whatever interfaces there are', () => {
    const { shown, refusals } = planned({
      networks: [{}],
      relay_listen: [{ address: '10.0.1.2' }, { address: '2001:DB8:1::2' }, { address: '::1' }],
      surroundings: [[null, around(lo, eth(0), eth(1))]],
    })
    expect(shown).toEqual([
      '10.0.1.2: remote, unicast',
      '2001:db8:1::2: remote, unicast',
      '::1: remote, unicast',
      'ff05::1:3: remote, joins ff05::1:3 on eth1, joins ff05::1:3 on lo, answers from 2001:db8:1::2',
    ])
    expect(refusals).toEqual([])
  })

  test('share the address of an interface that is served', () => {
    const { shown, sockets } = planned({ relay_listen: [{ address: '10.0.0.2' }] })
    expect(shown).toEqual([
      '10.0.0.2: network 1, remote, unicast',
      '0.0.0.0: network 1, answers from 10.0.0.2',
    ])
    expect(sockets[0]?.servers).toEqual(['10.0.0.2'])
  })

  test('do not speak for the network of an interface that has its own socket', () => {
    const { shown } = planned({
      relay_listen: [{ address: '10.0.0.2' }],
      surroundings: [[null, around(lo, eth(0), eth(1))]],
      inherited: [['eth0', 3]],
    })
    expect(shown).toEqual(['0.0.0.0: network 1, fd 3', '10.0.0.2: remote, unicast'])
  })

  test('cannot be heard at addresses that are not there', () => {
    const { problems } = planned({ networks: [{}], relay_listen: [{ address: '10.0.9.9' }] })
    expect(problems).toEqual(['no interface has the address 10.0.9.9 of relay_listen'])
  })
})

test('a namespace that cannot be looked into is a problem', () => {
  const { problems } = planned({ surroundings: [[null, 'cannot look into it']] })
  expect(problems).toEqual(['cannot look into it'])
})
