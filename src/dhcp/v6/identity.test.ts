import { describe, expect, test } from 'vitest'
import { ip6, packet } from '../../../test/helpers/dhcp6.ts'
import type { RelayMessage } from './codec.ts'
import { isDuid, macOfDuid, macOfLinkLocal, seenMac } from './identity.ts'

const mac = '00163e0a0b0c'

test.each([
  ['0001', false],
  ['000100', true],
  [`0004${'11'.repeat(128)}`, true],
  [`0004${'11'.repeat(129)}`, false],
])('%.20s is a DUID: %s', (hex, expected) => {
  expect(isDuid(packet(hex))).toBe(expected)
})

describe('the MAC of a DUID', () => {
  test.each([
    ['of a link-layer address', `00030001${mac}`, mac],
    ['of one and a time', `00010001${'2a2b2c2d'}${mac}`, mac],
    ['of IEEE 802', `00030006${mac}`, mac],
    ['of InfiniBand', `00030020${mac}`, null],
    ['that is too short', `00030001${mac.slice(2)}`, null],
    ['that is too long', `00030001${mac}00`, null],
    ['with a time, too short', `00010001${mac}`, null],
    ['of an enterprise', `0002000000090001${mac}`, null],
    ['of a UUID', `0004${'11'.repeat(16)}`, null],
    ['of an unknown kind', `000a0001${mac}`, null],
    ['of a group', '00030001333300000001', null],
    ['of zeros', '00030001000000000000', null],
    ['of three bytes', '000300', null],
  ])('%s', (_name, hex, expected) => {
    expect(macOfDuid(packet(hex))).toBe(expected)
  })
})

describe('the MAC of a link-local address', () => {
  test.each([
    ['fe80::216:3eff:fe0a:b0c', mac],
    ['fe80::16:3eff:fe0a:b0c', '02163e0a0b0c'],
    ['fe80::216:3eff:fd0a:b0c', null],
    ['fe80::1:216:3eff:fe0a:b0c', null],
    ['fe80:0:0:1:216:3eff:fe0a:b0c', null],
    ['2001:db8::216:3eff:fe0a:b0c', null],
    ['fe80::316:3eff:fe0a:b0c', null],
    ['::', null],
  ])('%s is %s', (text, expected) => {
    expect(macOfLinkLocal(packet(ip6(text)))).toBe(expected)
  })
})

describe('the MAC that others saw', () => {
  const local = packet(ip6('fe80::216:3eff:fe0a:b0c'))
  const other = packet(ip6('fe80::5'))
  const relay = (peerAddress: Buffer, hex?: string): RelayMessage => ({
    type: 12,
    hopCount: 0,
    linkAddress: packet(ip6('::')),
    peerAddress,
    options: hex === undefined ? [] : [{ code: 79, data: packet(hex) }],
    message: { type: 1, transactionId: 0, options: [] },
  })

  test('is that of the sender', () => {
    expect(seenMac(undefined, local)).toBe(mac)
    expect(seenMac(undefined, other)).toBeNull()
  })

  test('is what the relay saw, else that of its peer, never its own', () => {
    expect(seenMac(relay(local, '00010a0000000001'), other)).toBe('0a0000000001')
    expect(seenMac(relay(local), other)).toBe(mac)
    expect(seenMac(relay(other), local)).toBeNull()
  })

  test.each(['', '0001', '00010a00000000', '00200a0000000001', '00010a000000000101'])(
    'is not in a broken or foreign option: %s',
    hex => {
      expect(seenMac(relay(other, hex), local)).toBeNull()
    },
  )
})
