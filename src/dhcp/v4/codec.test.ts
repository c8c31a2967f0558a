import { describe, expect, test } from 'vitest'
import {
  bytesOf,
  mutated,
  numberOf,
  packetOf,
  randomBytes,
  randomMessage,
  textBytes,
} from '../../../test/helpers/dhcp4-packets.ts'
import { Random } from '../../../test/helpers/random.ts'
import { decodeMessage, encodeMessage, isMalformed, type Message } from './codec.ts'

function decoded(bytes: Uint8Array): Message {
  const read = decodeMessage(Uint8Array.from(bytes)) // Views of a Buffer would be Buffers.
  if (isMalformed(read)) throw new Error(read.malformed)
  return read
}
const blank: Message = decoded(packetOf({}))
const withOptions = (options: readonly (readonly [number, Uint8Array])[], more = {}): Message => ({
  ...blank,
  ...more,
  options: new Map(options),
})
const repeat = (length: number, byte = 7) => new Uint8Array(length).fill(byte)
const hexOf = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

describe('a packet is read', () => {
  test('field by field', () => {
    const packet = packetOf({
      op: 2,
      htype: 6,
      xid: 'deadbeef',
      flags: '8000',
      ciaddr: '192.0.2.1',
      giaddr: '255.255.255.254',
      mac: '525400abcdef',
      sname: textBytes('boot'),
      file: textBytes('x'.repeat(128)),
      options: '350101 00 00 37020103',
    })
    packet.set([9, 0, 0, 0, 0, 0x12, 0x34], 3)
    packet.set(bytesOf('deadbeef'), 4)
    expect(decoded(packet)).toEqual({
      op: 2,
      htype: 6,
      hops: 9,
      xid: 0xdeadbeef,
      secs: 0x1234,
      flags: 0x8000,
      ciaddr: numberOf('192.0.2.1'),
      yiaddr: 0,
      siaddr: 0,
      giaddr: 0xffff_fffe,
      chaddr: bytesOf('525400abcdef'),
      sname: textBytes('boot'),
      file: textBytes('x'.repeat(128)),
      options: new Map([
        [53, Uint8Array.of(1)],
        [55, Uint8Array.of(1, 3)],
      ]),
    })
  })

  test.each([
    ['without an end', { options: '350101', end: '' }, [[53, '01']]],
    ['with an option that is empty', { options: '5000' }, [[80, '']]],
    ['with bytes behind its end', { options: '350103', end: 'ff350102ffff' }, [[53, '03']]],
    [
      'with an option in pieces (RFC 3396)',
      { options: '0c026162 350101 0c0163' },
      [
        [12, '616263'],
        [53, '01'],
      ],
    ],
    [
      'with options in file',
      { options: '350101 340101', file: bytesOf('0c0161ff') },
      [
        [53, '01'],
        [12, '61'],
      ],
    ],
    [
      'with options in sname',
      { options: '340102 350101', sname: bytesOf('0c0161ff') },
      [
        [53, '01'],
        [12, '61'],
      ],
    ],
    [
      'with pieces in both, file first',
      { options: '0c0161 340103', sname: bytesOf('0c0163ff'), file: bytesOf('0c0162ff') },
      [[12, '616263']],
    ],
    [
      'with options up to the last byte of a field',
      { options: '340102', sname: bytesOf(`0c3e${'61'.repeat(62)}`) },
      [[12, '61'.repeat(62)]],
    ],
  ] as const)('%s', (_name, parts, options) => {
    const read = decoded(packetOf(parts))
    expect([...read.options].map(([code, value]) => [code, hexOf(value)])).toEqual(options)
  })

  test.each([
    ['nothing', new Uint8Array(0)],
    ['no cookie', packetOf({ options: '350101' }).subarray(0, 239)],
    ['another cookie', packetOf({ cookie: '63825364' })],
    ['a hardware address of 17 bytes', packetOf({ hlen: 17 })],
    ['an option without a length', packetOf({ options: '35', end: '' })],
    ['an option beyond the end', packetOf({ options: '3502', end: '01' })],
    ['an option beyond its field', packetOf({ options: '340102', sname: repeat(64, 63) })],
    ['overload 0', packetOf({ options: '340100' })],
    ['overload 4', packetOf({ options: '340104' })],
    ['overload without a value', packetOf({ options: '3400' })],
    ['overload twice', packetOf({ options: '340101340101' })],
    ['overload in file', packetOf({ options: '340101', file: bytesOf('340102ff') })],
  ])('and refused with %s', (_name, packet) => {
    expect(isMalformed(decodeMessage(packet))).toBe(true)
  })
})

describe('a message is written', () => {
  test('with its options in their order, the relay information last, in 300 bytes', () => {
    const message = withOptions([
      [82, Uint8Array.of(1, 1, 9)],
      [53, Uint8Array.of(2)],
      [1, Uint8Array.of(255, 255, 255, 0)],
    ])
    const { bytes, left_out } = encodeMessage(message, { bytes_max: 548 })
    expect(left_out).toEqual([])
    expect(bytes).toHaveLength(300)
    const options = hexOf(bytes.subarray(236))
    expect(options).toBe(`63825363350102${'0104ffffff00'}5203010109ff`.padEnd(128, '0'))
  })

  test('in bytes that are the same packet again', () => {
    const options = '350101 3d0701525400000001 370401030679 3902 05dc'
    const packet = packetOf({ flags: '8000', options })
    const padded = new Uint8Array(300)
    padded.set(packet)
    expect(hexOf(encodeMessage(decoded(packet), { bytes_max: 548 }).bytes)).toBe(hexOf(padded))
  })

  test('with long options in pieces of 255 bytes', () => {
    const value = Uint8Array.from({ length: 600 }, (_, index) => index)
    const message = withOptions([[121, value]])
    const { bytes } = encodeMessage(message, { bytes_max: 1472 })
    expect(bytes).toHaveLength(240 + 600 + 3 * 2 + 1)
    expect([bytes[240], bytes[241], bytes[497], bytes[498]]).toEqual([121, 255, 121, 255])
    expect([bytes[754], bytes[755], bytes[846]]).toEqual([121, 90, 255])
    expect(decoded(bytes)).toEqual(message)
  })

  test.each([
    [
      'file',
      [
        [12, 250],
        [15, 100],
      ],
      {},
      [1, []],
    ],
    [
      'sname, where file is taken',
      [
        [12, 250],
        [15, 60],
      ],
      { file: repeat(5) },
      [2, []],
    ],
    [
      'both',
      [
        [12, 250],
        [15, 100],
        [17, 61],
      ],
      {},
      [3, []],
    ],
    [
      'neither, where there is no room',
      [
        [12, 250],
        [15, 126],
        [17, 126],
      ],
      {},
      [0, [15, 17]],
    ],
    [
      'neither, where both are taken',
      [
        [12, 250],
        [15, 60],
      ],
      { file: repeat(5), sname: repeat(5) },
      [0, [15]],
    ],
    ['both, with a long one in pieces', [[121, 450]], {}, [3, []]],
    [
      'neither with one that is too long',
      [
        [121, 550],
        [15, 4],
      ],
      {},
      [0, [121]],
    ],
  ] as const)('with options in %s', (_name, lengths, more, [overload, left_out]) => {
    const options = lengths.map(([code, length]) => [code, repeat(length, code)] as const)
    const message = withOptions(options, more)
    const encoded = encodeMessage(message, { bytes_max: 548 })
    expect(encoded.left_out).toEqual(left_out)
    expect(encoded.bytes.length).toBeLessThanOrEqual(548)
    const kept = options.filter(([code]) => !encoded.left_out.includes(code))
    expect(decoded(encoded.bytes)).toEqual(withOptions(kept, more))
    const said = hexOf(encoded.bytes.subarray(240))
    expect(said.includes('3401')).toBe(overload > 0)
    if (overload > 0) expect(said).toContain(`34010${overload}`)
  })

  test('with the relay information before what else there is, or without it', () => {
    const relay = repeat(200, 3)
    const crowded = withOptions([
      [53, Uint8Array.of(5)],
      [12, repeat(250)],
      [82, relay],
    ])
    const { bytes, left_out } = encodeMessage(crowded, { bytes_max: 548 })
    expect(left_out).toEqual([12])
    expect(decoded(bytes).options).toEqual(
      new Map([
        [53, Uint8Array.of(5)],
        [82, relay],
      ]),
    )
    const huge = withOptions([
      [53, Uint8Array.of(5)],
      [82, repeat(300)],
    ])
    const without = encodeMessage(huge, { bytes_max: 548 })
    expect(without.left_out).toEqual([82])
    expect([...decoded(without.bytes).options.keys()]).toEqual([53])
  })
})

test('a message that is written and read is the same', () => {
  const random = new Random(2131)
  for (let n = 0; n < 800; n += 1) {
    const message = randomMessage(random, { options_max: 12, bytes_max: 700 })
    const { bytes, left_out } = encodeMessage(message, { bytes_max: 65_507 })
    expect(left_out).toEqual([])
    expect(decoded(bytes)).toEqual(message)
  }
})

test('a message that is too long keeps all but what did not fit', () => {
  const random = new Random(3396)
  let overloaded = 0
  for (let n = 0; n < 800; n += 1) {
    const message = randomMessage(random, { options_max: 10, bytes_max: 500 })
    const bytes_max = random.between(300, 1472)
    const { bytes, left_out } = encodeMessage(message, { bytes_max })
    expect(bytes.length).toBeLessThanOrEqual(bytes_max)
    expect(bytes.length).toBeGreaterThanOrEqual(300)
    const options = new Map([...message.options].filter(([code]) => !left_out.includes(code)))
    expect(decoded(bytes)).toEqual({ ...message, options })
    if (bytes[108] !== 0 && message.file.length === 0) overloaded += 1
  }
  expect(overloaded).toBeGreaterThan(30)
})

test('no bytes make the codec throw, and what it reads it can write', () => {
  const random = new Random(951)
  let read = 0
  for (let n = 0; n < 3000; n += 1) {
    const message = randomMessage(random, { options_max: 8, bytes_max: 300 })
    const bytes =
      n % 10 === 0
        ? randomBytes(random, random.below(700))
        : mutated(random, encodeMessage(message, { bytes_max: 800 }).bytes)
    const found = decodeMessage(bytes)
    if (isMalformed(found)) continue
    read += 1
    expect(decoded(encodeMessage(found, { bytes_max: 65_507 }).bytes)).toEqual(found)
  }
  expect(read).toBeGreaterThan(300)
})

test('the time for the longest datagram does not grow with the pieces of its options', () => {
  const pieces = bytesOf('0c0161'.repeat(21_000))
  const packet = Uint8Array.from([...packetOf({ end: '' }), ...pieces])
  const began = performance.now()
  for (let n = 0; n < 20; n += 1) decoded(packet)
  expect((performance.now() - began) / 20).toBeLessThan(100)
})
