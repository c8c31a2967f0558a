import { describe, expect, test } from 'vitest'
import {
  address,
  clientId,
  duidLL,
  holding,
  iaNa,
  iaPd,
  iaTa,
  option,
  plain,
  prefix,
  rapid,
  relayed,
  serverDuid,
  serverId,
  wants,
} from '../../../test/helpers/dhcp6.ts'
import {
  ask,
  automaticDuid,
  bytesOf,
  effectsOf,
  hostOf,
  linkTable,
  macs,
  net,
  now,
  told,
} from '../../../test/helpers/dhcp6-world.ts'
import { infinity } from './associations.ts'
import { leaseOf } from './bindings.ts'

const one = clientId(duidLL(macs.one))
const two = clientId(duidLL(macs.two))
const stranger = clientId(duidLL(macs.none))
const automatic = clientId(automaticDuid)
const head = (type: string, mac = macs.one) => `${type} abcdef client=${duidLL(mac)} server`
const times = '=3600-7200'
const gone = '=0-0'

describe('a SOLICIT', () => {
  test('is answered with an advertisement of what the host has', () => {
    const wish = plain('solicit', one, iaNa(7, []), iaPd(8, []), wants(23, 24))
    expect(told(wish)).toEqual([
      `${head('advertise')} na(7 1800-2880 2001:db8::a${times})` +
        ` pd(8 1800-2880 2001:db8:a::/56${times}) 7=c8 ` +
        `23=${bytesOf('2001:db8::53').toString('hex')} 24=076578616d706c65036f726700`,
    ])
    expect(effectsOf(wish)).toEqual([])
  })

  test('with rapid commit has its answer at once, if the link has it', () => {
    const wish = plain('solicit', one, iaNa(7, []), rapid)
    expect(told(wish)).toEqual([`${head('reply')} rapid na(7 1800-2880 2001:db8::a${times})`])
    const effect = `leased one 2001:db8::a ${duidLL(macs.one)}/7 - ${now + 7200}`
    expect(effectsOf(wish)).toEqual([effect])
    const { bindings } = linkTable({ hasRapidCommit: false })
    expect(told(wish, { bindings })[0]).toMatch(/^advertise abcdef client=\w+ server na\(/)
    expect(effectsOf(wish, { bindings })).toEqual([])
  })

  test('for which there is nothing gets no final answer', () => {
    const { bindings, link } = linkTable()
    link.setHost(hostOf('one'), { mac: macs.one })
    const wish = plain('solicit', one, rapid, iaNa(7, []), iaPd(8, []))
    expect(told(wish, { bindings })).toEqual([
      `${head('advertise')} na(7 0-0 status=2) pd(8 0-0 status=6) 7=c8`,
    ])
  })

  test('for temporary addresses is refused, and not what else it asks', () => {
    expect(told(plain('solicit', one, iaTa(9), iaNa(7, [])))).toEqual([
      `${head('advertise')} ta(9 status=2) na(7 1800-2880 2001:db8::a${times}) 7=c8`,
    ])
    const foreign = plain('solicit', one, iaTa(9, address('2001:db8::b1')))
    expect(told(foreign)).toEqual([`${head('advertise')} ta(9 status=2) 7=c8`])
  })

  test('that names what others have gets its own', () => {
    const wish = plain('solicit', one, iaNa(7, [address('2001:db8::b1'), address('2001:db9::1')]))
    expect(told(wish)[0]).toContain(` na(7 1800-2880 2001:db8::a${times}) `)
    const named = [prefix('2001:db8:b::/56'), prefix('::/48')]
    const other = plain('solicit', one, iaPd(7, named))
    expect(told(other)[0]).toContain(` pd(7 1800-2880 2001:db8:a::/56${times}) `)
  })

  test('of an unknown client gets nothing', () => {
    expect(told(plain('solicit', stranger, iaNa(7, [])))).toEqual(['unknown_client'])
  })

  test('through an interface that is not served gets nothing', () => {
    const came = { interface: 'tap1' }
    expect(told(plain('solicit', one, iaNa(7, [])), { came })).toEqual(['unknown_link'])
  })
})

describe('several associations', () => {
  const wish = (...associations: string[]) =>
    told(plain('solicit', two, ...associations))[0]?.match(/(na|pd)\([^)]*\)/g)

  test('share what there is', () => {
    expect(wish(iaNa(1, []))).toEqual([`na(1 1800-2880 2001:db8::b1${times} 2001:db8::b2${times})`])
    expect(wish(iaNa(1, []), iaNa(2, []))).toEqual([
      `na(1 1800-2880 2001:db8::b1${times})`,
      `na(2 1800-2880 2001:db8::b2${times})`,
    ])
    expect(wish(iaPd(1, []), iaNa(1, []), iaPd(2, []))).toEqual([
      `pd(1 1800-2880 2001:db8:b::/56${times})`,
      `na(1 1800-2880 2001:db8::b1${times} 2001:db8::b2${times})`,
      `pd(2 1800-2880 2001:db8:b:100::/56${times})`,
    ])
  })

  test('keep what they name, so that an order does not change it', () => {
    const named = [iaNa(1, [address('2001:db8::b2')]), iaNa(2, [])]
    const expected = [
      `na(1 1800-2880 2001:db8::b2${times})`,
      `na(2 1800-2880 2001:db8::b1${times})`,
    ]
    expect(wish(...named)).toEqual(expected)
    expect(wish(...named.toReversed())).toEqual(expected.toReversed())
    const both = [address('2001:db8::b2'), address('2001:db8::b1')]
    expect(wish(iaNa(1, []), iaNa(2, both))?.[0]).toBe('na(1 0-0 status=2)')
  })

  test('have fortunes of their own', () => {
    expect(wish(iaNa(1, []), iaNa(2, []), iaNa(3, []))?.[2]).toBe('na(3 0-0 status=2)')
    const odd = plain(
      'request',
      two,
      serverId,
      iaNa(1, [address('2001:db9::1')]),
      iaNa(2, [address('2001:db8::b2')]),
      iaPd(3, []),
      iaTa(4),
    )
    expect(told(odd)).toEqual([
      `${head('reply', macs.two)} na(1 0-0 status=4) na(2 1800-2880 2001:db8::b2${times})` +
        ` pd(3 1800-2880 2001:db8:b::/56${times} 2001:db8:b:100::/56${times}) ta(4 status=2)`,
    ])
    expect(effectsOf(odd).map(text => text.split(' ')[2])).toEqual([
      '2001:db8::b2',
      '2001:db8:b::/56',
      '2001:db8:b:100::/56',
    ])
  })

  test('are renewed at one time, that of the first that runs out', () => {
    const { bindings, link } = linkTable()
    const [first, second] = hostOf('', '2001:db8::a').addresses.flatMap(lease => [
      { ...lease, endsAt: now + 100 },
      leaseOf({ text: '2001:db8::a2' }),
    ])
    if (!first || !second) throw new Error('no leases')
    link.setHost({ ...hostOf('one'), addresses: [first, second] }, { mac: macs.one })
    const wish = plain('request', one, serverId, iaNa(1, []), iaNa(2, []))
    expect(told(wish, { bindings })).toEqual([
      `${head('reply')} na(1 50-80 2001:db8::a=100-100) na(2 50-80 2001:db8::a2${times})`,
    ])
    expect(told(wish, { bindings, at: now + 100 })[0]).toContain('na(2 0-0 status=2)')
  })
})

describe('lifetimes', () => {
  test('may be for ever', () => {
    const { bindings, link } = linkTable()
    const forEver = { preferredLifetime: infinity, validLifetime: infinity }
    link.setHost({ ...hostOf('one', '2001:db8::a'), ...forEver }, { mac: macs.one })
    const wish = plain('request', one, serverId, iaNa(7, []))
    const all = `${infinity}-${infinity}`
    expect(told(wish, { bindings })).toEqual([`${head('reply')} na(7 ${all} 2001:db8::a=${all})`])
    expect(effectsOf(wish, { bindings })[0]).toMatch(/ null$/)
  })

  test('end with the allocation', () => {
    const { bindings, link } = linkTable()
    const addresses = [leaseOf({ text: '2001:db8::a', endsAt: now + 600 })]
    link.setHost({ ...hostOf('one'), addresses }, { mac: macs.one })
    const wish = plain('request', one, serverId, iaNa(7, []))
    const answered = (at: number) => told(wish, { at, bindings })[0]?.match(/na\([^)]*\)/)?.[0]
    expect(answered(now - 9000)).toBe(`na(7 1800-2880 2001:db8::a${times})`)
    expect(answered(now)).toBe('na(7 300-480 2001:db8::a=600-600)')
    expect(answered(now + 599)).toBe('na(7 0-0 2001:db8::a=1-1)')
    expect(answered(now + 599.5)).toBe('na(7 0-0 status=2)')
    expect(answered(now + 601)).toBe('na(7 0-0 status=2)')
  })

  test('prolong an allocation that was made for them, while it lasts', () => {
    const wish = plain('renew', automatic, serverId, iaNa(5, [address('2001:db8::c')]))
    expect(told(wish)[0]).toContain(` 2001:db8::c${times})`)
    const later = { at: now + 900 }
    expect(told(wish, later)[0]).toContain(' 2001:db8::c=3600-6300)')
    const effect = `leased auto 2001:db8::c ${automaticDuid}/5 - ${now + 7200}`
    expect(effectsOf(wish, later)).toEqual([effect])
    const late = { at: now + 901 }
    expect(told(wish, late)).toEqual(['allocation_wanted'])
    expect(effectsOf(wish, late)).toEqual([`prolong auto 2001:db8::c ${automaticDuid}/5 - 7200`])
    const given = told(wish, { ...late, isRepeated: true })
    expect(given[0]).toContain(' na(5 1800-2880 2001:db8::c=3600-6299)')
    const solicit = plain('solicit', automatic, iaNa(5, []))
    expect(told(solicit, late)[0]).toContain(` 2001:db8::c${times})`)
    expect(told(wish, { at: now + 7200 })[0]).toContain(` na(5 0-0 2001:db8::c${gone})`)
  })
})

describe('a REQUEST', () => {
  test('has a final answer', () => {
    const wish = plain('request', one, serverId, iaNa(7, [address('2001:db8::a', 1, 2)]), rapid)
    expect(told(wish)).toEqual([`${head('reply')} na(7 1800-2880 2001:db8::a${times})`])
    const effect = `leased one 2001:db8::a ${duidLL(macs.one)}/7 - ${now + 7200}`
    expect(effectsOf(wish)).toEqual([effect])
  })

  test('for an address of another host gets what is its own', () => {
    const wish = plain('request', one, serverId, iaNa(7, [address('2001:db8::b1')]))
    expect(told(wish)).toEqual([`${head('reply')} na(7 1800-2880 2001:db8::a${times})`])
  })

  test('may name what is its own, though no prefix of the link has it', () => {
    const { bindings, link } = linkTable()
    link.setHost(hostOf('one', '2001:db9::1'), { mac: macs.one })
    const wish = plain('request', one, serverId, iaNa(7, [address('2001:db9::1')]))
    expect(told(wish, { bindings })[0]).toContain(` na(7 1800-2880 2001:db9::1${times})`)
  })

  test('cannot be judged on a link without known prefixes', () => {
    const { bindings } = linkTable({ prefixes: [] })
    const wish = plain('request', one, serverId, iaNa(7, [address('2001:db9::1')]))
    expect(told(wish, { bindings })[0]).toContain('2001:db8::a')
  })

  test('of an unknown client gets nothing', () => {
    const wish = plain('request', stranger, serverId, iaNa(7, [address('2001:db8::a')]))
    expect(told(wish)).toEqual(['unknown_client'])
  })
})

describe('options', () => {
  test('are given to who asks for them, in that order and once', () => {
    const wish = plain('request', one, serverId, wants(59, 23, 56, 59, 7, 12, 999))
    const dns = bytesOf('2001:db8::53').toString('hex')
    const url = Buffer.from('http://[2001:db8::69]/boot.efi').toString('hex')
    const ntp = bytesOf('2001:db8::123').toString('hex')
    const name = '036e7470076578616d706c65036f726700'
    expect(told(wish)).toEqual([
      `${head('reply')} 59=${url} 23=${dns} 56=00010010${ntp} 56=00030011${name}`,
    ])
  })

  test('are not given unasked', () => {
    expect(told(plain('request', one, serverId))).toEqual([head('reply')])
  })

  test('are as many as fit in an answer', () => {
    const { bindings, link } = linkTable()
    const many = Array.from({ length: 100 }, (_, index) => 1000 + index)
    const large = many.map(code => [code, [{ code, data: Buffer.alloc(1020) }]] as const)
    link.setHost({ ...hostOf('one'), options: new Map(large) }, { mac: macs.one })
    const { reply } = ask(plain('request', one, serverId, wants(...many)), { bindings })
    expect(reply?.message.options).toHaveLength(2 + 32)
  })
})

describe('a RENEW', () => {
  test('gives new lifetimes, adds what is new and ends what is no longer', () => {
    const wish = plain(
      'renew',
      two,
      serverId,
      iaNa(7, [address('2001:db8::b2'), address('2001:db8::a'), address('2001:db9::1')]),
      iaPd(8, [prefix('2001:db8:b::/56'), prefix('2001:db8:a::/56'), prefix('::/60')]),
    )
    expect(told(wish)).toEqual([
      `${head('reply', macs.two)} na(7 1800-2880 2001:db8::b1${times} 2001:db8::b2${times}` +
        ` 2001:db8::a${gone} 2001:db9::1${gone}) pd(8 1800-2880 2001:db8:b::/56${times}` +
        ` 2001:db8:b:100::/56${times} 2001:db8:a::/56${gone})`,
    ])
    expect(effectsOf(wish).map(text => text.split(' ')[2])).not.toContain('2001:db8::a')
  })

  test('ends all where the host has nothing left', () => {
    const { bindings, link } = linkTable()
    link.setHost(hostOf('one'), { mac: macs.one })
    const wish = plain('renew', one, serverId, iaNa(7, [address('2001:db8::a')]), iaPd(8, []))
    expect(told(wish, { bindings })).toEqual([
      `${head('reply')} na(7 0-0 2001:db8::a${gone}) pd(8 0-0 status=6)`,
    ])
  })

  test('of what is not known has no binding', () => {
    const associations = [iaNa(7, [address('2001:db8::a')]), iaPd(8, []), iaTa(9)]
    expect(told(plain('renew', stranger, serverId, ...associations))).toEqual([
      `${head('reply', macs.none)} na(7 0-0 status=3) pd(8 0-0 status=3) ta(9 status=3)`,
    ])
    expect(told(plain('renew', one, serverId, iaTa(9)))).toEqual([
      `${head('reply')} ta(9 status=3)`,
    ])
    const mixed = plain('renew', automatic, serverId, iaNa(5, []), iaNa(6, []))
    expect(told(mixed)[0]).toMatch(/ na\(5 1800-2880 2001:db8::c=3600-7200\) na\(6 0-0 status=3\)$/)
  })
})

describe('a REBIND', () => {
  test('is answered as a RENEW is', () => {
    const wish = plain('rebind', one, iaNa(7, [address('2001:db8::a'), address('2001:db8::b1')]))
    expect(told(wish)).toEqual([
      `${head('reply')} na(7 1800-2880 2001:db8::a${times} 2001:db8::b1${gone})`,
    ])
    expect(effectsOf(wish)).toHaveLength(1)
  })

  test('leaves out what others may know', () => {
    const wish = plain('rebind', stranger, iaNa(7, [address('2001:db9::a')]))
    expect(told(wish)).toEqual(['unknown_client'])
    const mixed = plain('rebind', automatic, iaNa(6, [address('2001:db8::a')]), iaNa(5, []))
    expect(told(mixed)[0]).toMatch(/ server na\(5 1800-2880 2001:db8::c=3600-7200\)$/)
  })
})

describe('a CONFIRM', () => {
  const confirm = (...named: string[]) =>
    told(
      plain(
        'confirm',
        one,
        iaNa(
          7,
          named.map(text => address(text)),
        ),
      ),
    )[0]

  test('of its own addresses is granted', () => {
    expect(confirm('2001:db8::a')).toBe(`${head('reply')} status=0`)
  })

  test.each([['2001:db9::1'], ['2001:db8::b1'], ['2001:db8::99'], ['2001:db8::a', '2001:db9::1']])(
    'of others is not: %s %s',
    (...named) => {
      expect(confirm(...named)).toBe(`${head('reply')} status=4`)
    },
  )

  test('of nothing, on an unknown link or of a stranger gets nothing', () => {
    expect(confirm()).toBe('nothing_to_confirm')
    const delegated = plain('confirm', one, iaPd(7, [prefix('2001:db8:a::/56')]))
    expect(told(delegated)).toEqual(['nothing_to_confirm'])
    const foreign = plain('confirm', stranger, iaNa(7, [address('2001:db8::a')]))
    expect(told(foreign)).toEqual(['unknown_client'])
    const { bindings } = linkTable({ prefixes: [] })
    const other = plain('confirm', one, iaNa(7, [address('2001:db9::1')]))
    expect(told(other, { bindings })).toEqual(['nothing_to_confirm'])
    const own = plain('confirm', one, iaNa(7, [address('2001:db8::a')]))
    expect(told(own, { bindings })).toEqual([`${head('reply')} status=0`])
  })
})

describe('a RELEASE and a DECLINE', () => {
  test.each([
    ['release', 'released'],
    ['decline', 'declined'],
  ] as const)('%s is told, of its own addresses alone', (type, kind) => {
    const named = ['2001:db8::b1', '2001:db8::a', '2001:db9::1'].map(text => address(text))
    const wish = plain(type, two, serverId, iaNa(7, named), iaNa(8, []))
    expect(told(wish)).toEqual([`${head('reply', macs.two)} status=0`])
    expect(effectsOf(wish)).toEqual([`${kind} two 2001:db8::b1 ${duidLL(macs.two)}/7 -`])
  })

  test('are of prefixes, too, but these are not declined', () => {
    const named = iaPd(7, [prefix('2001:db8:a::/56'), prefix('2001:db8:a::/57')])
    const effect = `released one 2001:db8:a::/56 ${duidLL(macs.one)}/7 -`
    expect(effectsOf(plain('release', one, serverId, named))).toEqual([effect])
    expect(effectsOf(plain('decline', one, serverId, named))).toEqual([])
    expect(told(plain('decline', one, serverId, named))).toEqual([`${head('reply')} status=0`])
  })

  test.each(['release', 'decline'] as const)('%s of a stranger has no binding', type => {
    const wish = plain(type, stranger, serverId, iaNa(7, [address('2001:db8::a')]))
    expect(told(wish)).toEqual([`${head('reply', macs.none)} status=0 na(7 0-0 status=3)`])
    expect(effectsOf(wish)).toEqual([])
  })

  test('say whether others saw the client', () => {
    const came = { address: bytesOf('fe80::216:3eff:fe00:1') }
    const wish = plain('decline', stranger, serverId, iaNa(7, [address('2001:db8::a')]))
    const effect = `declined one 2001:db8::a ${duidLL(macs.none)}/7 ${macs.one}`
    expect(effectsOf(wish, { came })).toEqual([effect])
  })

  test('let nobody have a withheld address, until its time is over', () => {
    const { bindings, link } = linkTable()
    link.quarantine('one', '2001:db8::a', now + 60)
    const renew = plain('renew', one, serverId, iaNa(7, [address('2001:db8::a')]))
    expect(told(renew, { bindings })).toEqual([`${head('reply')} na(7 0-0 2001:db8::a${gone})`])
    const confirm = plain('confirm', one, iaNa(7, [address('2001:db8::a')]))
    expect(told(confirm, { bindings })).toEqual([`${head('reply')} status=4`])
    const again = plain('decline', one, serverId, iaNa(7, [address('2001:db8::a')]))
    expect(effectsOf(again, { bindings })).toEqual([])
    expect(told(renew, { bindings, at: now + 60 })[0]).toContain(`2001:db8::a${times}`)
  })
})

describe('an INFORMATION-REQUEST', () => {
  const dns = `23=${bytesOf('2001:db8::53').toString('hex')}`

  test('gets options, with a client identifier and without', () => {
    expect(told(plain('inform', one, wants(23)))).toEqual([`${head('reply')} ${dns}`])
    const came = { address: bytesOf('fe80::216:3eff:fe00:1') }
    expect(told(plain('inform', wants(23)), { came })).toEqual([`reply abcdef server ${dns}`])
    expect(told(plain('inform', one, serverId, wants(23)))).toEqual([`${head('reply')} ${dns}`])
  })

  test('of a stranger gets those of the link, if it has any for it', () => {
    expect(told(plain('inform', stranger, wants(23)))).toEqual(['unknown_client'])
    expect(told(plain('inform', wants(23)))).toEqual(['unknown_client'])
    const { bindings } = linkTable({ options: hostOf('any').options })
    expect(told(plain('inform', wants(23)), { bindings })).toEqual([`reply abcdef server ${dns}`])
    expect(told(plain('solicit', stranger, iaNa(7, [])), { bindings })).toEqual(['unknown_client'])
  })
})

describe('an unknown client on a link that allocates on demand', () => {
  const automaticLink = () => linkTable({ isAutomatic: true })
  const who = `${duidLL(macs.none)}/7 -`

  test('has an allocation wanted, and is answered once there is one', () => {
    const { bindings, link } = automaticLink()
    const solicit = plain('solicit', stranger, iaNa(7, [address('2001:db8::99')]), iaPd(8, []))
    expect(told(solicit, { bindings })).toEqual(['allocation_wanted'])
    const named = bytesOf('2001:db8::99').toString('hex')
    expect(effectsOf(solicit, { bindings })).toEqual([`wanted net false ${who} ${named}`])
    const clients = [{ duid: Buffer.from(duidLL(macs.none), 'hex'), iaid: 7 }]
    link.setHost({ ...hostOf('new', '2001:db8::d'), isAutomatic: true }, { clients })
    expect(told(solicit, { bindings })).toEqual([
      `${head('advertise', macs.none)} na(7 1800-2880 2001:db8::d${times})` +
        ' pd(8 0-0 status=6) 7=c8',
    ])
    link.setHost(hostOf('new'), { clients })
    expect(told(solicit, { bindings })[0]).toContain('na(7 0-0 status=2)')
  })

  test.each([
    ['request', true, plain('request', stranger, serverId, iaNa(7, []))],
    ['solicit', true, plain('solicit', stranger, rapid, iaNa(7, []))],
    ['solicit', false, plain('solicit', stranger, iaNa(7, []))],
  ])('wants it with a %s for good: %s', (_type, isFinal, hex) => {
    const { bindings } = automaticLink()
    expect(effectsOf(hex, { bindings })).toEqual([`wanted net ${isFinal} ${who}`])
  })

  test.each([
    plain('solicit', stranger, iaPd(7, [])),
    plain('solicit', stranger, iaTa(7)),
    plain('solicit', one, iaNa(7, [])),
    plain('renew', stranger, serverId, iaNa(7, [])),
    plain('rebind', stranger, iaNa(7, [])),
  ])('is not allocated anything otherwise: %s', hex => {
    const { bindings } = automaticLink()
    expect(effectsOf(hex, { bindings })).toEqual([])
  })
})

describe('who a client is', () => {
  const eui = { address: bytesOf('fe80::216:3eff:fe00:1') }
  const soliciting = (id: string, ...associations: string[]) =>
    plain('solicit', id, ...(associations.length > 0 ? associations : [iaNa(7, [])]))
  const address1 = /2001:db8::a=/

  test('is said by its address rather than by its DUID', () => {
    expect(told(soliciting(two), { came: eui })[0]).toMatch(address1)
    const unknown = { address: bytesOf('fe80::216:3eff:fe00:ff') }
    expect(told(soliciting(one), { came: unknown })).toEqual(['unknown_client'])
  })

  test('is said by what is bound rather than by a MAC in a DUID', () => {
    const { bindings, link } = linkTable()
    const clients = [{ duid: Buffer.from(duidLL(macs.two), 'hex'), iaid: 3 }]
    link.setHost(hostOf('bound', '2001:db8::e'), { clients })
    expect(told(soliciting(two, iaNa(3, [])), { bindings })[0]).toContain('2001:db8::e=')
    expect(told(soliciting(two, iaNa(4, [])), { bindings })[0]).toContain('2001:db8::b1=')
    expect(told(soliciting(two, iaNa(3, [])), { bindings, came: eui })[0]).toMatch(address1)
  })

  test('is said by the relay that saw it rather than by anything else', () => {
    const inside = soliciting(two)
    const said = option(79, '0001', macs.one)
    const ends = ['2001:db8::1', 'fe80::216:3eff:fe00:2'] as const
    expect(told(relayed('forward', 0, ends, said, holding(inside)))[1]).toMatch(address1)
    const outer = relayed('forward', 1, ['2001:db8::1', 'fe80::7'], said, holding(inside))
    expect(told(outer)[1]).toMatch(address1)
    const inner = relayed('forward', 0, ends, holding(soliciting(one)))
    const both = relayed('forward', 1, ['::', 'fe80::7'], said, holding(inner))
    expect(told(both)[2]).toContain('2001:db8::b1=')
  })
})

describe('through relays', () => {
  const solicit = plain('solicit', one, iaNa(7, []))
  const advertised = `${head('advertise')} na(7 1800-2880 2001:db8::a${times}) 7=c8`
  const far = { came: { interface: 'eth9' } }

  test('the answer takes the same way back', () => {
    const inner = relayed('forward', 0, ['::', 'fe80::5'], option(18, 'cafe'), holding(solicit))
    const middle = relayed(
      'forward',
      1,
      ['2001:db8::1', 'fe80::6'],
      option(37, '00'),
      holding(inner),
    )
    const outer = relayed(
      'forward',
      2,
      ['2001:db9::1', 'fe80::7'],
      option(18, '01'),
      holding(middle),
    )
    expect(told(outer, far)).toEqual([
      'back 2 2001:db9::1 fe80::7 18=01',
      'back 1 2001:db8::1 fe80::6',
      'back 0 :: fe80::5 18=cafe',
      advertised,
    ])
    expect(ask(outer, far).reply?.port).toBe(547)
    expect(ask(solicit).reply?.port).toBe(546)
  })

  test('a relay gets what it asks to have back', () => {
    const said = [option(18, '01'), option(37, '0007'), option(43, '00250026'), option(38, '')]
    const odd = relayed('forward', 0, ['2001:db8::1', 'fe80::5'], ...said, holding(solicit))
    expect(told(odd, far)[0]).toBe('back 0 2001:db8::1 fe80::5 18=01 37=0007 38=')
  })

  test('a relay is answered at the port that it uses, if it says that it is its own (RFC 8357)', () => {
    const port = option(135, '0000')
    const ends = ['2001:db8::1', 'fe80::5'] as const
    const own = relayed('forward', 0, ends, port, holding(solicit))
    expect(ask(own, far).reply?.port).toBeNull()
    expect(told(own, far)[0]).toBe('back 0 2001:db8::1 fe80::5 135=0000')
    const behind = relayed('forward', 1, ['::', 'fe80::6'], holding(own))
    expect(ask(behind, far).reply?.port).toBe(547)
  })

  test('the link is that of the innermost relay that tells it', () => {
    const { bindings } = linkTable()
    const facts = { ...net, id: 'far', interfaces: ['tap9'], prefixes: ['2001:db9::/64'] }
    const link = bindings.setLink(facts)
    link.setHost(hostOf('far', '2001:db9::f'), { mac: macs.one })
    const relays = [
      { address: bytesOf('fe80::1'), interfaceId: Buffer.from('vlan9') },
      { address: bytesOf('fe80::6'), interfaceId: Buffer.from('port-7') },
    ]
    const named = bindings.setLink({ ...facts, id: 'named', interfaces: [], relays })
    named.setHost(hostOf('named', '2001:dbc::f'), { mac: macs.one })
    const at = (address: string, ...id: string[]) =>
      relayed('forward', 0, [address, 'fe80::5'], ...id, holding(solicit))
    const within = (address: string, message: string) =>
      relayed('forward', 1, [address, 'fe80::6'], holding(message))
    const id = (text: string) => option(18, Buffer.from(text).toString('hex'))
    const whose = (hex: string, came = {}) =>
      told(hex, { bindings, came })
        .at(-1)
        ?.match(/2001:db.::[af]/)?.[0] ?? told(hex, { bindings, came })[0]

    expect(whose(at('2001:db9::1'))).toBe('2001:db9::f')
    expect(whose(within('2001:db8::1', at('2001:db9::1')))).toBe('2001:db9::f')
    expect(whose(within('2001:db9::1', at('::')))).toBe('2001:db9::f')
    expect(whose(within('2001:db9::1', at('::', id('port-7'))))).toBe('2001:dbc::f')
    expect(whose(within('2001:db9::1', at('::', id('port-8'))))).toBe('2001:db9::f')
    const sameId = at('::', id('port-7'))
    expect(whose(relayed('forward', 1, ['2001:db9::1', 'fe80::8'], holding(sameId)))).toBe(
      '2001:db9::f',
    )
    expect(whose(at('2001:db8::1', id('vlan9')))).toBe('2001:dbc::f')
    expect(whose(within('2001:db8::1', at('::', id('vlan9'))))).toBe('2001:db8::a')
    expect(whose(at('2001:db8::1', id('vlan8')))).toBe('2001:db8::a')
    expect(whose(at('::'), { interface: 'tap9' })).toBe('2001:db9::f')
    expect(whose(within('2001:db8::1', at('2001:dba::1')))).toBe('unknown_link')
  })

  test('anybody could speak, so that only those who are trusted count', () => {
    const forward = relayed('forward', 0, ['2001:db8::1', 'fe80::5'], holding(solicit))
    expect(told(forward, { came: { trustsRelays: false } })).toEqual(['untrusted_relay'])
    expect(told(solicit, { came: { trustsRelays: false } })).toEqual([advertised])
  })
})

describe('a message is discarded that', () => {
  const na = iaNa(7, [])
  const other = option(2, serverDuid.replace(/e0$/, 'e1'))
  const longer = option(2, `${serverDuid}00`)
  test.each([
    ['is of a server', 'not_for_servers', plain('advertise', one, serverId)],
    ['is of a server', 'not_for_servers', plain('reply', one, serverId)],
    ['is of a server', 'not_for_servers', plain('reconfigure', one, serverId)],
    [
      'is for a relay',
      'not_for_servers',
      relayed('reply', 0, ['2001:db8::1', 'fe80::5'], holding(plain('solicit', one))),
    ],
    ['has no client identifier', 'no_client_id', plain('solicit', na)],
    ['has no client identifier', 'no_client_id', plain('request', serverId, na)],
    ['has no client identifier', 'no_client_id', plain('confirm', na)],
    ['has no client identifier', 'no_client_id', plain('rebind', na)],
    ['has an empty one', 'bad_client_id', plain('solicit', clientId(''), na)],
    ['has a long one', 'bad_client_id', plain('solicit', clientId('00'.repeat(131)), na)],
    ['has one too short', 'bad_client_id', plain('inform', clientId('0003'))],
    ['has two', 'repeated_option', plain('solicit', one, one, na)],
    ['is for two servers', 'repeated_option', plain('request', one, serverId, serverId, na)],
    ['is for no server', 'no_server_id', plain('request', one, na)],
    ['is for no server', 'no_server_id', plain('renew', one, na)],
    ['is for no server', 'no_server_id', plain('release', one, na)],
    ['is for no server', 'no_server_id', plain('decline', one, na)],
    ['is for another server', 'another_server', plain('request', one, other, na)],
    ['is for another server', 'another_server', plain('renew', one, other, na)],
    ['is for another server', 'another_server', plain('release', one, other, na)],
    ['is for another server', 'another_server', plain('decline', one, other, na)],
    ['is for another server', 'another_server', plain('inform', one, other)],
    ['is for another server', 'another_server', plain('inform', one, longer)],
    ['is for all, and says a server', 'server_id_not_allowed', plain('solicit', one, serverId, na)],
    ['is for all, and says a server', 'server_id_not_allowed', plain('confirm', one, serverId, na)],
    ['is for all, and says a server', 'server_id_not_allowed', plain('rebind', one, serverId, na)],
    ['asks for options and addresses', 'association_not_allowed', plain('inform', one, na)],
    [
      'has a short association',
      'bad_association',
      plain('solicit', one, option(3, '00'.repeat(11))),
    ],
    ['has a short one', 'bad_association', plain('solicit', one, option(4, '000000'))],
    ['names half an address', 'bad_association', plain('solicit', one, iaNa(7, [option(5, '20')]))],
    ['names half a prefix', 'bad_association', plain('solicit', one, iaPd(7, [option(26, '20')]))],
    [
      'names a prefix of 129 bits',
      'bad_association',
      plain('solicit', one, iaPd(7, [prefix('2001:db8::/129')])),
    ],
    ['has a broken association', 'bad_association', plain('solicit', one, iaNa(7, ['0005ffff']))],
    ['has one twice', 'bad_association', plain('solicit', one, na, na)],
    [
      'names too much',
      'bad_association',
      plain('solicit', one, iaNa(7, Array<string>(65).fill(address('2001:db8::a')))),
    ],
    [
      'asks for too much',
      'too_many_associations',
      plain('solicit', one, ...Array.from({ length: 33 }, (_, index) => iaNa(index, []))),
    ],
  ])('%s: %s', (_name, reason, hex) => {
    expect(told(hex)).toEqual([reason])
    expect(effectsOf(hex)).toEqual([])
  })

  test.each([
    plain('solicit', one, na),
    plain('confirm', one, na),
    plain('rebind', one, na),
    plain('inform', one),
  ])('is for all and sent to one: %s', hex => {
    expect(told(hex, { came: { isUnicast: true } })).toEqual(['unicast_not_allowed'])
  })

  test.each(['request', 'renew', 'release', 'decline'] as const)(
    'is a %s by unicast is told so',
    type => {
      const hex = plain(type, one, serverId, iaNa(7, [address('2001:db8::a')]), wants(23))
      const came = { isUnicast: true }
      expect(told(hex, { came })).toEqual([`${head('reply')} status=5`])
      expect(effectsOf(hex, { came })).toEqual([])
      const forward = relayed('forward', 0, ['2001:db8::1', 'fe80::5'], holding(hex))
      expect(told(forward, { came })[1]).not.toContain('status=5')
    },
  )
})

test('an answer that fits in no datagram is not sent', () => {
  const { bindings, link } = linkTable()
  const many = Array.from({ length: 900 }, (_, index) => `2001:db8::${(index + 16).toString(16)}`)
  link.setHost(hostOf('one', ...many), { mac: macs.one })
  const solicit = plain('solicit', one, iaNa(7, []))
  const ends = ['2001:db8::1', 'fe80::5'] as const
  expect(ask(solicit, { bindings }).reply).not.toBeNull()
  const forward = relayed('forward', 0, ends, option(18, '00'.repeat(45_000)), holding(solicit))
  expect(told(forward, { bindings })).toEqual(['too_long'])
})
