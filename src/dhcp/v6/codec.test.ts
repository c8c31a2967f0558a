import { describe, expect, test } from 'vitest'
import {
  clientId,
  duidLL,
  holding,
  iaNa,
  ip6,
  option,
  packet,
  plain,
  relayed,
} from '../../../test/helpers/dhcp6.ts'
import { Random } from '../../../test/helpers/random.ts'
import {
  decodeMessage,
  encodedLength,
  encodeMessage,
  isRelay,
  type Message,
  type Option,
} from './codec.ts'

const solicit = plain('solicit', clientId(duidLL('00163e000001')), iaNa(7, []))
const ends = ['2001:db8::1', 'fe80::1'] as const

/** A message within so many relays. */
const within = (relays: number, message = solicit): string =>
  Array.from({ length: relays }).reduce<string>(
    (held, _, hops) => relayed('forward', hops, ends, holding(held)),
    message,
  )

describe('a packet', () => {
  test('is read with its options in their order', () => {
    const odd = plain('request', option(8, '0000'), option(17, '00'), option(17, '01'), option(14))
    expect(decodeMessage(packet(odd))).toEqual({
      type: 3,
      transactionId: 0xabcdef,
      options: [
        { code: 8, data: packet('0000') },
        { code: 17, data: packet('00') },
        { code: 17, data: packet('01') },
        { code: 14, data: packet('') },
      ],
    })
  })

  test('is read from any bytes in memory', () => {
    const bytes = new Uint8Array([9, 9, ...packet(solicit), 9])
    expect(decodeMessage(bytes.subarray(2, -1))).toEqual(decodeMessage(packet(solicit)))
  })

  test('of a relay has the message that it holds', () => {
    const forward = relayed('forward', 1, ends, option(18, 'beef'), holding(solicit))
    expect(decodeMessage(packet(forward))).toEqual({
      type: 12,
      hopCount: 1,
      linkAddress: packet(ip6(ends[0])),
      peerAddress: packet(ip6(ends[1])),
      options: [{ code: 18, data: packet('beef') }],
      message: decodeMessage(packet(solicit)),
    })
  })

  test.each([1, 2, 9])('may have gone through %i relays', relays => {
    const message = decodeMessage(packet(within(relays)))
    expect(message).toHaveProperty('hopCount', relays - 1)
    expect(encodeMessage(message as Message).toString('hex')).toBe(within(relays))
  })

  const hops = (count: number) => relayed('forward', count, ends, holding(solicit))
  test.each([
    ['too_short', ''],
    ['too_short', '01abcd'],
    ['too_short', within(1).slice(0, 66)],
    ['too_short', relayed('forward', 0, ends, holding('01'))],
    ['unknown_type', '00abcdef'],
    ['unknown_type', '0eabcdef'],
    ['unknown_type', '14000000'],
    ['unknown_type', `ff${'00'.repeat(60)}`],
    ['broken_options', `${solicit}00`],
    ['broken_options', `${solicit}000e00`],
    ['broken_options', `${solicit}000e0001`],
    ['broken_options', `${solicit}000effff00`],
    ['broken_options', relayed('forward', 0, ends, `${holding(solicit)}0012`)],
    ['too_many_options', plain('solicit', option(14).repeat(257))],
    ['too_many_relays', hops(9)],
    ['too_many_relays', hops(255)],
    ['too_many_relays', relayed('forward', 8, ends, holding(within(9)))],
    ['no_relay_message', relayed('forward', 0, ends, option(18, 'beef'))],
    ['two_relay_messages', relayed('reply', 0, ends, holding(solicit).repeat(2))],
  ])('is %s: %.60s', (malformed, hex) => {
    expect(decodeMessage(packet(hex))).toEqual({ malformed })
  })

  test('may have 256 options, and the highest hop count', () => {
    expect(decodeMessage(packet(plain('solicit', option(14).repeat(256))))).toHaveProperty(
      'type',
      1,
    )
    expect(decodeMessage(packet(hops(8)))).toHaveProperty('hopCount', 8)
  })

  test('cut short anywhere is no message, unless it ends with an option', () => {
    const whole = packet(within(2))
    for (let end = 0; end < whole.length; end++) {
      expect(decodeMessage(whole.subarray(0, end))).toHaveProperty('malformed')
    }
  })
})

/** Any message there can be. */
function randomMessage(random: Random, relays: number): Message {
  const bytes = (length: number) => Buffer.from(Array.from({ length }, () => random.below(256)))
  const options = (codes: (code: number) => boolean): Option[] =>
    Array.from({ length: random.below(6) }, () => ({
      code: random.below(random.pick([30, 65_536]) ?? 30),
      data: bytes(random.below(40)),
    })).filter(({ code }) => codes(code))
  if (relays === 0 || random.below(3) === 0) {
    const type = random.between(1, 11)
    return { type, transactionId: random.below(2 ** 24), options: options(() => true) }
  }
  return {
    type: random.between(12, 13),
    hopCount: random.below(9),
    linkAddress: bytes(16),
    peerAddress: bytes(16),
    options: options(code => code !== 9),
    message: randomMessage(random, relays - 1),
  }
}

test('what is encoded is decoded to the same', () => {
  const random = new Random(6)
  let nested = 0
  for (let round = 0; round < 1000; round++) {
    const message = randomMessage(random, 9)
    const bytes = encodeMessage(message)
    expect(bytes.length).toBe(encodedLength(message))
    expect(decodeMessage(bytes)).toEqual(message)
    if (isRelay(message) && isRelay(message.message)) nested++
  }
  expect(nested).toBeGreaterThan(100)
})

test('no message is longer than a datagram', () => {
  const ofLength = (length: number) => ({
    type: 7,
    transactionId: 0,
    options: [{ code: 17, data: Buffer.alloc(length) }],
  })
  expect(encodeMessage(ofLength(65_519)).length).toBe(65_527)
  expect(() => encodeMessage(ofLength(65_520))).toThrow(RangeError)
})
