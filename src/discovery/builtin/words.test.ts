import { describe, expect, test } from 'vitest'
import { packetOf } from '../../../test/helpers/dhcp4-packets.ts'
import { option as option4, read } from '../../../test/helpers/dhcp4-world.ts'
import { holding, ip6, option, packet, plain, relayed } from '../../../test/helpers/dhcp6.ts'
import { decodeMessage } from '../../dhcp/v6/codec.ts'
import * as words4 from './words4.ts'
import * as words6 from './words6.ts'

describe('what a client says of itself', () => {
  const text = (value: string) => Buffer.from(value).toString('hex')
  test.each([
    ['its host name', option4(12, text('vm-1')), 'vm-1'],
    ['its host name with a zero', option4(12, `${text('vm-1')}00`), 'vm-1'],
    ['bytes that are no text', option4(12, text('vm\n1')), null],
    ['nothing', option4(12, '00'), null],
    ['its domain name as text', option4(81, `000000${text('vm-2.example.org')}`), 'vm-2'],
    ['its name alone', option4(81, `000000${text('vm-2')}`), 'vm-2'],
    [
      'its domain name as labels',
      option4(81, `04000004${text('vm-3')}07${text('example')}00`),
      'vm-3',
    ],
    ['a label that is cut off', option4(81, `04000040${text('vm')}`), 'vm'],
    ['no domain name', option4(81, '04'), null],
    ['both', option4(81, `000000${text('b')}`) + option4(12, text('a')), 'a'],
  ])('by DHCPv4 is %s', (_name, options, expected) => {
    expect(words4.hostNameOf(read(packetOf({ options })))).toBe(expected)
  })

  test('by DHCPv4 comes with the relay that heard it', () => {
    const options = option4(82, `0102beef0203cafe00`)
    expect(words4.relayOf(read(packetOf({ options })))).toBeNull()
    const relayed4 = read(packetOf({ options, giaddr: '10.0.0.1' }))
    const said = { address: '10.0.0.1', circuit_id: 'beef', remote_id: 'cafe00' }
    expect(words4.relayOf(relayed4)).toEqual(said)
    const silent = read(packetOf({ giaddr: '10.0.0.1' }))
    expect(words4.relayOf(silent)).toEqual({ ...said, circuit_id: null, remote_id: null })
  })

  test('by DHCPv6 is the first label of its name, and its nearest relay', () => {
    const solicit = plain('solicit', option(39, `0104${text('vm-4')}00`))
    const inner = ['2001:db8::1', 'fe80::5'] as const
    const said = [option(18, 'beef'), option(37, `00000009${'cafe'}`)]
    const outer = ['2001:db8:9::1', '2001:db8::1'] as const
    const forward = relayed(
      'forward',
      1,
      outer,
      holding(relayed('forward', 0, inner, ...said, holding(solicit))),
    )
    const message = decodeMessage(packet(forward))
    if ('malformed' in message) throw new Error(message.malformed)
    const { plain: own, nearest } = words6.unwrap(message)
    expect(words6.hostNameOf(own)).toBe('vm-4')
    const relay = { address: '2001:db8::1', circuit_id: 'beef', remote_id: 'cafe' }
    expect(words6.relayOf(nearest)).toEqual(relay)
    expect(words6.textOfBytes(packet(ip6('2001:db8::5')))).toBe('2001:db8::5')
    const named = { duid: packet('0004'), iaid: 7, mac: '525400000001' }
    expect(words6.namesOf(named)).toEqual({
      mac_address: '52:54:00:00:00:01',
      client_id: null,
      duid: '0004',
      iaid: 7,
    })
  })
})
