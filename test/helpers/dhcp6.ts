// DHCPv6 packets in hexadecimal, written down by hand from RFC 8415, so that the product's own
// codec does not count.

import { formatAddress } from '../../src/ip/address.ts'

const hexOf = (value: number, bytes: number) => value.toString(16).padStart(2 * bytes, '0')

/** An option of a code, with its contents in hexadecimal (§21.1). */
export const option = (code: number, ...contents: string[]): string => {
  const data = contents.join('')
  return hexOf(code, 2) + hexOf(data.length / 2, 2) + data
}

/** The 16 bytes of an IPv6 address that is written with at most one `::`. */
export function ip6(text: string): string {
  const [head = '', tail = ''] = text.split('::')
  const groups = (part: string) => part.split(':').filter(group => group !== '')
  const zeros = 8 - groups(head).length - groups(tail).length
  return [...groups(head), ...Array<string>(zeros).fill('0'), ...groups(tail)]
    .map(group => group.padStart(4, '0'))
    .join('')
}

export const packet = (hex: string): Buffer => Buffer.from(hex, 'hex')
export const transaction = 'abcdef'
export const serverDuid = '0002000000090c0ffee0'
export const duidLL = (mac: string) => `00030001${mac}`
export const clientId = (duid: string) => option(1, duid)
export const serverId = option(2, serverDuid)
export const wants = (...codes: number[]) => option(6, ...codes.map(code => hexOf(code, 2)))
export const rapid = option(14)

/** An address or prefix with lifetimes, which are zero in requests (§21.6, §21.22). */
export const address = (text: string, preferred = 0, valid = 0) =>
  option(5, ip6(text), hexOf(preferred, 4), hexOf(valid, 4))
export function prefix(cidr: string, preferred = 0, valid = 0): string {
  const [text = '', length] = cidr.split('/')
  return option(26, hexOf(preferred, 4), hexOf(valid, 4), hexOf(Number(length), 1), ip6(text))
}

/** Associations (§21.4, §21.5, §21.21); `times` are T1 and T2. */
type Times = readonly [number, number]
const withTimes =
  (code: number) =>
  (iaid: number, contents: string[], times: Times = [0, 0]) =>
    option(code, hexOf(iaid, 4), ...times.map(time => hexOf(time, 4)), ...contents)
export const iaNa = withTimes(3)
export const iaPd = withTimes(25)
export const iaTa = (iaid: number, ...contents: string[]) => option(4, hexOf(iaid, 4), ...contents)

const types = {
  solicit: 1,
  advertise: 2,
  request: 3,
  confirm: 4,
  renew: 5,
  rebind: 6,
  reply: 7,
  release: 8,
  decline: 9,
  reconfigure: 10,
  inform: 11,
}

/** A message of a client or a server (§8). */
export const plain = (type: keyof typeof types, ...options: string[]): string =>
  hexOf(types[type], 1) + transaction + options.join('')

/** A message of a relay or to it (§9), around another one. */
export function relayed(
  type: 'forward' | 'reply',
  hops: number,
  [link, peer]: readonly [string, string],
  ...options: string[]
): string {
  return (
    (type === 'forward' ? '0c' : '0d') + hexOf(hops, 1) + ip6(link) + ip6(peer) + options.join('')
  )
}
export const holding = (message: string) => option(9, message)

const typeNames = new Map<number, string>(Object.entries(types).map(([name, type]) => [type, name]))

/**
 * A packet as text, read apart by rules of its own: a line for each message, a relay's before that
 * which it holds, with its options in their order. Texts of statuses are left out; they are free.
 */
export function show(bytes: Buffer): string[] {
  const [type = 0] = bytes
  const name = typeNames.get(type)
  if (name) {
    const shown = showOptions(bytes.subarray(4)).map(one => ` ${one}`)
    return [`${name} ${bytes.toString('hex', 1, 4)}${shown.join('')}`]
  }
  const [link, peer] = [bytes.subarray(2, 18), bytes.subarray(18, 34)].map(showAddress)
  const options = split(bytes.subarray(34))
  const shown = showOptions(bytes.subarray(34), 9).map(one => ` ${one}`)
  const held = options.find(([code]) => code === 9)?.[1]
  const line = `${type === 12 ? 'forward' : 'back'} ${bytes[1]} ${link} ${peer}${shown.join('')}`
  return held ? [line, ...show(held)] : [line]
}

/** What a message and its answer have in common; a relay as its hop count and addresses. */
export function envelope(bytes: Buffer): {
  readonly relays: string[]
  readonly type: string
  readonly transaction: string
  readonly client: string | undefined
} {
  const relays: string[] = []
  let rest = bytes
  while (rest[0] === 12 || rest[0] === 13) {
    relays.push(rest.toString('hex', 1, 34))
    rest = split(rest.subarray(34)).find(([code]) => code === 9)?.[1] ?? Buffer.alloc(0)
  }
  return {
    relays,
    type: typeNames.get(rest[0] ?? 0) ?? '',
    transaction: rest.toString('hex', 1, 4),
    client: split(rest.subarray(4))
      .find(([code]) => code === 1)?.[1]
      .toString('hex'),
  }
}

const showAddress = (bytes: Buffer) =>
  formatAddress({ version: 6, value: BigInt(`0x${bytes.toString('hex')}`) })

/** Options as their codes and contents, nothing left over. */
export function split(bytes: Buffer): [number, Buffer][] {
  const found: [number, Buffer][] = []
  let rest = bytes
  while (rest.length > 0) {
    const end = 4 + rest.readUInt16BE(2)
    if (end > rest.length) throw new RangeError('an option without an end')
    found.push([rest.readUInt16BE(0), rest.subarray(4, end)])
    rest = rest.subarray(end)
  }
  return found
}

const showOptions = (bytes: Buffer, without?: number): string[] =>
  split(bytes)
    .filter(([code]) => code !== without)
    .map(([code, data]) => showOption(code, data))

function showOption(code: number, data: Buffer): string {
  const at = (place: number) => data.readUInt32BE(place)
  switch (code) {
    case 1:
      return `client=${data.toString('hex')}`
    case 2:
      return data.toString('hex') === serverDuid ? 'server' : `server=${data.toString('hex')}`
    case 3:
    case 25: {
      const shown = showOptions(data.subarray(12)).map(one => ` ${one}`)
      return `${code === 3 ? 'na' : 'pd'}(${at(0)} ${at(4)}-${at(8)}${shown.join('')})`
    }
    case 4:
      return `ta(${at(0)}${showOptions(data.subarray(4)).map(one => ` ${one}`)})`
    case 5:
      return `${showAddress(data.subarray(0, 16))}=${at(16)}-${at(20)}`
    case 26:
      return `${showAddress(data.subarray(9))}/${data[8]}=${at(0)}-${at(4)}`
    case 13:
      return `status=${data.readUInt16BE(0)}`
    case 14:
      return 'rapid'
    default:
      return `${code}=${data.toString('hex')}`
  }
}
