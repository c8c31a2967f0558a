import type { Message } from '../../src/dhcp/v4/codec.ts'
import type { Random } from './random.ts'

// DHCPv4 packets put together from RFC 2131 §2, without the codec that they are for.

/** Bytes of digits in hex; spaces are for the reader. */
export const bytesOf = (digits: string): Uint8Array =>
  Uint8Array.from(Buffer.from(digits.replaceAll(' ', ''), 'hex'))

export const textBytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text))

/** `10.0.0.1` as four bytes, and as a number. */
export const quad = (address: string): number[] => address.split('.').map(Number)
export const numberOf = (address: string): number =>
  quad(address).reduce((sum, octet) => sum * 256 + octet, 0)

export type PacketParts = {
  readonly op?: number
  readonly htype?: number
  readonly hlen?: number
  readonly xid?: string
  readonly flags?: string
  readonly ciaddr?: string
  readonly giaddr?: string
  readonly mac?: string
  readonly sname?: Uint8Array
  readonly file?: Uint8Array
  readonly cookie?: string
  /** In hex, from the first option to the last; an end follows. */
  readonly options?: string
  readonly end?: string
}

/** A packet of a client, which is padded only as far as its parts ask for it. */
export function packetOf(parts: PacketParts): Uint8Array {
  const bytes = new Uint8Array(236)
  const { op = 1, htype = 1, hlen = 6, xid = '01020304', flags = '0000' } = parts
  bytes.set([op, htype, hlen])
  bytes.set(bytesOf(xid), 4)
  bytes.set(bytesOf(flags), 10)
  bytes.set(quad(parts.ciaddr ?? '0.0.0.0'), 12)
  bytes.set(quad(parts.giaddr ?? '0.0.0.0'), 24)
  bytes.set(bytesOf(parts.mac ?? '525400000001'), 28)
  bytes.set(parts.sname ?? [], 44)
  bytes.set(parts.file ?? [], 108)
  const { cookie = '63825363', options = '', end = 'ff' } = parts
  return Uint8Array.from([...bytes, ...bytesOf(cookie), ...bytesOf(options), ...bytesOf(end)])
}

/** An option; its contents are in hex. */
export const option4 = (code: number, contents: string): string => {
  const bytes = bytesOf(contents)
  return Buffer.from([code, bytes.length, ...bytes]).toString('hex')
}

/** A packet as it is read by RFC 2131 §2, 2132 §9.3 and 3396, without the codec that is tested. */
export type Packet4 = {
  readonly op: number
  readonly xid: string
  readonly flags: number
  readonly ciaddr: string
  readonly yiaddr: string
  readonly siaddr: string
  readonly giaddr: string
  readonly mac: string
  readonly sname: string
  readonly file: string
  /** In hex, by code; pieces joined. */
  readonly options: ReadonlyMap<number, string>
}

export function readPacket(bytes: Buffer): Packet4 {
  const address = (place: number) => bytes.subarray(place, place + 4).join('.')
  const options = new Map<number, string>()
  const readField = (field: Buffer) => {
    for (let place = 0; place < field.length && field[place] !== 255; ) {
      const code = field[place] ?? 0
      if (code === 0) {
        place += 1
        continue
      }
      const end = place + 2 + (field[place + 1] ?? 0)
      if (end > field.length) throw new RangeError(`option ${code} without an end`)
      options.set(code, (options.get(code) ?? '') + field.toString('hex', place + 2, end))
      place = end
    }
  }
  readField(bytes.subarray(240))
  const overload = Number.parseInt(options.get(52) ?? '0', 16)
  if (overload & 1) readField(bytes.subarray(108, 236))
  if (overload & 2) readField(bytes.subarray(44, 108))
  options.delete(52)
  const text = (bit: number, from: number, to: number) =>
    overload & bit ? '' : bytes.toString('latin1', from, to).replace(/\0.*$/s, '')
  return {
    op: bytes[0] ?? 0,
    xid: bytes.toString('hex', 4, 8),
    flags: bytes.readUInt16BE(10),
    ciaddr: address(12),
    yiaddr: address(16),
    siaddr: address(20),
    giaddr: address(24),
    mac: bytes.toString('hex', 28, 34),
    sname: text(2, 44, 108),
    file: text(1, 108, 236),
    options,
  }
}

export const randomBytes = (random: Random, length: number): Uint8Array =>
  Uint8Array.from({ length }, () => random.below(256))

/**
 * Any message that its bytes can say; `options_max` bounds how many options, `bytes_max` how long
 * they are.
 */
export function randomMessage(
  random: Random,
  { options_max, bytes_max }: { readonly options_max: number; readonly bytes_max: number },
): Message {
  const text = (size: number) =>
    randomBytes(random, random.below(3) === 0 ? random.below(size + 1) : 0).map(byte => byte || 1)
  const options = new Map<number, Uint8Array>()
  for (let left = random.below(options_max + 1); left > 0; left -= 1) {
    const code = random.between(1, 254)
    const length = random.below(5) === 0 ? random.below(bytes_max) : random.below(8)
    if (code !== 52) options.set(code, randomBytes(random, length))
  }
  return {
    op: random.below(256),
    htype: random.below(256),
    hops: random.below(256),
    xid: random.below(2 ** 32),
    secs: random.below(2 ** 16),
    flags: random.below(2 ** 16),
    ciaddr: random.below(2 ** 32),
    yiaddr: random.below(2 ** 32),
    siaddr: random.below(2 ** 32),
    giaddr: random.below(2 ** 32),
    chaddr: randomBytes(random, random.below(17)),
    sname: text(64),
    file: text(128),
    options,
  }
}

/** A packet with some of its bytes changed, cut off, doubled or put in. */
export function mutated(random: Random, packet: Uint8Array): Uint8Array {
  let bytes = Uint8Array.from(packet)
  for (let left = random.between(1, 3); left > 0; left -= 1) {
    const place = random.below(4) === 0 ? random.below(240) : random.between(236, bytes.length)
    const kind = random.below(10)
    if (kind < 7) bytes[place] = random.pick([0, 1, 4, 52, 53, 82, 255, random.below(256)]) ?? 0
    else if (kind === 7) bytes = bytes.slice(0, place)
    else if (kind === 8) bytes = Uint8Array.from([...bytes, ...bytes.subarray(place)])
    else {
      const more = randomBytes(random, random.between(1, 40))
      bytes = Uint8Array.from([...bytes.subarray(0, place), ...more, ...bytes.subarray(place)])
    }
  }
  return bytes
}
