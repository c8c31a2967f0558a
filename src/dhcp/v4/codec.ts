import { codes } from './codes.ts'

/**
 * A message between client and server (RFC 2131 §2). Addresses and numbers are unsigned integers.
 *
 * `options` has no pad, end or overload (52), which belong to the encoding, and each option once,
 * its pieces joined (RFC 3396). Their order is that of their importance: what does not fit is left
 * out from the end.
 */
export type Message = {
  readonly op: number
  readonly htype: number
  readonly hops: number
  readonly xid: number
  readonly secs: number
  readonly flags: number
  readonly ciaddr: number
  readonly yiaddr: number
  readonly siaddr: number
  readonly giaddr: number
  /** As many bytes as `hlen` says, at most 16. */
  readonly chaddr: Uint8Array
  /**
   * Without the zeros behind them; at most 64 and 128 bytes. Empty where options took their place.
   */
  readonly sname: Uint8Array
  readonly file: Uint8Array
  readonly options: ReadonlyMap<number, Uint8Array>
}

export type Malformed = { readonly malformed: string }

export const isMalformed = (read: Message | Malformed): read is Malformed => 'malformed' in read

/** Where the fields are, in bytes (RFC 2131 §2). */
const at = {
  ciaddr: 12,
  yiaddr: 16,
  siaddr: 20,
  giaddr: 24,
  chaddr: 28,
  sname: 44,
  file: 108,
  cookie: 236,
  options: 240,
} as const
const snameBytes = at.file - at.sname
const fileBytes = at.cookie - at.file
const chaddrMax = at.sname - at.chaddr

/** What says that options follow (RFC 2131 §3). */
const magicCookie = 0x6382_5363

/** Some relays and clients drop what is shorter than a BOOTP message (RFC 1542 §2.1). */
const bytesMin = 300

const none = new Uint8Array(0)

export const uint32At = (bytes: Uint8Array, place: number): number =>
  (((bytes[place] ?? 0) << 24) |
    ((bytes[place + 1] ?? 0) << 16) |
    ((bytes[place + 2] ?? 0) << 8) |
    (bytes[place + 3] ?? 0)) >>>
  0

export const uint16At = (bytes: Uint8Array, place: number): number =>
  ((bytes[place] ?? 0) << 8) | (bytes[place + 1] ?? 0)

/** Four bytes, the highest first. */
export function uint32Bytes(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  writeUint32(bytes, 0, value)
  return bytes
}

function writeUint32(bytes: Uint8Array, place: number, value: number) {
  bytes[place] = value >>> 24
  bytes[place + 1] = value >>> 16
  bytes[place + 2] = value >>> 8
  bytes[place + 3] = value
}

/**
 * Reads a datagram. One that ends within an option says something other than was meant, so it is no
 * message. The bytes are not copied.
 */
export function decodeMessage(bytes: Uint8Array): Message | Malformed {
  if (bytes.length < at.options) return { malformed: 'shorter than a DHCP message' }
  if (uint32At(bytes, at.cookie) !== magicCookie) return { malformed: 'no magic cookie' }
  const hlen = bytes[2] ?? 0
  if (hlen > chaddrMax) return { malformed: 'hardware address of more than 16 bytes' }

  const options = new Map<number, Uint8Array>()
  const repeated = new Map<number, Uint8Array[]>()
  const problem = readOptions({ bytes, from: at.options, end: bytes.length, options, repeated })
  if (problem !== null) return { malformed: problem }
  const overload = repeated.has(codes.overload) ? null : takeOverload(options)
  if (overload === null) return { malformed: 'overload is neither 1, 2 nor 3' }
  // RFC 3396 §5: what is in `file` comes before what is in `sname`.
  for (const [bit, from, end] of overloadable) {
    if ((overload & bit) === 0) continue
    const fault = readOptions({ bytes, from, end, options, repeated })
    if (fault !== null) return { malformed: fault }
    if (options.has(codes.overload)) return { malformed: 'overload in an overloaded field' }
  }
  for (const [code, pieces] of repeated) options.set(code, joinPieces(pieces))
  return {
    op: bytes[0] ?? 0,
    htype: bytes[1] ?? 0,
    hops: bytes[3] ?? 0,
    xid: uint32At(bytes, 4),
    secs: uint16At(bytes, 8),
    flags: uint16At(bytes, 10),
    ciaddr: uint32At(bytes, at.ciaddr),
    yiaddr: uint32At(bytes, at.yiaddr),
    siaddr: uint32At(bytes, at.siaddr),
    giaddr: uint32At(bytes, at.giaddr),
    chaddr: bytes.subarray(at.chaddr, at.chaddr + hlen),
    sname: overload & 2 ? none : textAt(bytes, at.sname, snameBytes),
    file: overload & 1 ? none : textAt(bytes, at.file, fileBytes),
    options,
  }
}

/** Which bit of overload gives which field to options (RFC 2132 §9.3), in the order of reading. */
const overloadable = [
  [1, at.file, at.cookie],
  [2, at.sname, at.file],
] as const

type Area = {
  readonly bytes: Uint8Array
  readonly from: number
  readonly end: number
  readonly options: Map<number, Uint8Array>
  /** All pieces of the options that came more than once, joined when all are there. */
  readonly repeated: Map<number, Uint8Array[]>
}

/** Reads the options of one field, up to its end; what is wrong with them, or null. */
function readOptions({ bytes, from, end, options, repeated }: Area): string | null {
  for (let place = from; place < end; ) {
    const code = bytes[place] ?? codes.end
    place += 1
    if (code === codes.pad) continue
    if (code === codes.end) return null
    const first = place + 1
    const last = first + (bytes[place] ?? 0)
    if (first > end || last > end) return `option ${code} goes beyond the end`
    const piece = bytes.subarray(first, last)
    const before = options.get(code)
    if (before === undefined) options.set(code, piece)
    else {
      const pieces = repeated.get(code)
      if (pieces) pieces.push(piece)
      else repeated.set(code, [before, piece])
    }
    place = last
  }
  return null
}

/** The fields that options took, as bits; null if that is no such value. */
function takeOverload(options: Map<number, Uint8Array>): number | null {
  const value = options.get(codes.overload)
  if (value === undefined) return 0
  options.delete(codes.overload)
  const bits = value.length === 1 ? (value[0] ?? 0) : 0
  return bits >= 1 && bits <= 3 ? bits : null
}

function joinPieces(pieces: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let place = 0
  for (const piece of pieces) {
    joined.set(piece, place)
    place += piece.length
  }
  return joined
}

/** Text that a zero ends, or the end of its field. */
function textAt(bytes: Uint8Array, from: number, size: number): Uint8Array {
  if (bytes[from] === 0) return none
  let end = from
  while (end < from + size && bytes[end] !== 0) end += 1
  return bytes.subarray(from, end)
}

/** The bytes of a message, and the options that did not fit. */
export type Encoded = { readonly bytes: Uint8Array; readonly left_out: readonly number[] }

/** Room for options, from `place` to `end`. */
type Field = { readonly start: number; place: number; readonly end: number; readonly bit: number }

/** What an answer needs at least beside the option of a relay: kind, server, lease, overload. */
const roomMin = 32

/**
 * Writes a message in at most `bytes_max` bytes; 300 it may always have. Options are written in
 * their order. What does not fit goes into `file` and `sname` (RFC 2132 §9.3) where these are
 * empty, and is left out otherwise. Only options of more than 255 bytes are split (RFC 3396 §7):
 * not all clients join pieces of what they do not expect to be that long.
 */
export function encodeMessage(
  message: Message,
  { bytes_max }: { readonly bytes_max: number },
): Encoded {
  const limit = Math.max(bytes_max, bytesMin)
  const left_out: number[] = []
  // RFC 3046 §2.2: a relay's option comes last, in no other field, as a whole or not at all.
  let relay = message.options.get(codes.relayInformation) ?? null
  if (relay && at.options + sizeOf(relay) + roomMin > limit) {
    left_out.push(codes.relayInformation)
    relay = null
  }
  const kept = 1 + (relay ? sizeOf(relay) : 0)
  let length = at.options
  for (const [code, value] of message.options) {
    if (code !== codes.relayInformation) length += sizeOf(value)
  }
  const isOverloaded = length + kept > limit
  // Of the pool of small buffers: one of its own would cost as much as all the rest.
  const size = isOverloaded ? limit : Math.max(length + kept, bytesMin)
  const bytes: Uint8Array = Buffer.allocUnsafe(size).fill(0)
  writeFields(bytes, message)
  let place: number = at.options
  if (isOverloaded) {
    place = writeOverloaded(bytes, { message, left_out, end: limit - kept - overloadBytes })
  } else {
    for (const [code, value] of message.options) {
      if (code !== codes.relayInformation) place = writePieces(bytes, { code, value, place })
    }
  }
  if (relay) place = writePieces(bytes, { code: codes.relayInformation, value: relay, place })
  bytes[place] = codes.end
  return {
    bytes: isOverloaded ? bytes.subarray(0, Math.max(place + 1, bytesMin)) : bytes,
    left_out,
  }
}

type Crowd = {
  readonly message: Message
  /** To which what does not fit is added. */
  readonly left_out: number[]
  /** Where the field of options has to end. */
  readonly end: number
}

/** Writes options into as many fields as they need; the place behind those in the first. */
function writeOverloaded(bytes: Uint8Array, { message, left_out, end }: Crowd): number {
  const main: Field = { start: at.options, place: at.options, end, bit: 0 }
  const fields = [main, ...spareFields(message)]
  for (const [code, value] of message.options) {
    if (code === codes.relayInformation) continue
    if (!writeOption(bytes, { code, value, fields })) left_out.push(code)
  }
  const bits = endFields(bytes, fields)
  if (bits === 0) return main.place
  const value = Uint8Array.of(bits)
  return writePieces(bytes, { code: codes.overload, value, place: main.place })
}

const overloadBytes = 3

/** What a value takes with the code and the length of each of its pieces. */
function sizeOf({ length }: Uint8Array): number {
  return length <= 255 ? length + 2 : length + 2 * Math.ceil(length / 255)
}

function writeFields(bytes: Uint8Array, message: Message) {
  bytes[0] = message.op
  bytes[1] = message.htype
  bytes[2] = message.chaddr.length
  bytes[3] = message.hops
  writeUint32(bytes, 4, message.xid)
  bytes[8] = message.secs >>> 8
  bytes[9] = message.secs
  bytes[10] = message.flags >>> 8
  bytes[11] = message.flags
  writeUint32(bytes, at.ciaddr, message.ciaddr)
  writeUint32(bytes, at.yiaddr, message.yiaddr)
  writeUint32(bytes, at.siaddr, message.siaddr)
  writeUint32(bytes, at.giaddr, message.giaddr)
  bytes.set(message.chaddr, at.chaddr)
  if (message.sname.length > 0) bytes.set(message.sname, at.sname)
  if (message.file.length > 0) bytes.set(message.file, at.file)
  writeUint32(bytes, at.cookie, magicCookie)
}

/** The fields that options may take, in the order in which they are read (RFC 3396 §5). */
const spareFields = ({ file, sname }: Message): Field[] =>
  overloadable
    .filter(([bit]) => (bit === 1 ? file : sname).length === 0)
    .map(([bit, start, end]) => ({ start, place: start, end: end - 1, bit }))

type Placed = { readonly code: number; readonly value: Uint8Array; readonly place: number }

/** Writes a value in one place, in as many pieces as it needs; the place behind it. */
function writePieces(bytes: Uint8Array, { code, value, place }: Placed): number {
  let next = place
  let from = 0
  do {
    const size = Math.min(value.length - from, 255)
    bytes[next] = code
    bytes[next + 1] = size
    next += 2
    // For the few bytes that most options have, a loop is faster than a call.
    if (size > 16) bytes.set(value.subarray(from, from + size), next)
    else for (let n = 0; n < size; n += 1) bytes[next + n] = value[from + n] ?? 0
    next += size
    from += size
  } while (from < value.length)
  return next
}

type Option = {
  readonly code: number
  readonly value: Uint8Array
  readonly fields: readonly Field[]
}

/** Writes an option into the first field that has room for it; whether there was any. */
function writeOption(bytes: Uint8Array, { code, value, fields }: Option): boolean {
  const size = sizeOf(value)
  for (const field of fields) {
    if (field.end - field.place < size) continue
    field.place = writePieces(bytes, { code, value, place: field.place })
    return true
  }
  return value.length > 255 && writeAcross(bytes, { code, value, fields })
}

/** Writes an option that is in pieces anyway into what is left of all fields. */
function writeAcross(bytes: Uint8Array, { code, value, fields }: Option): boolean {
  if (fields.reduce((sum, field) => sum + roomIn(field), 0) < value.length) return false
  let from = 0
  for (const field of fields) {
    const size = Math.min(roomIn(field), value.length - from)
    if (size <= 0) continue
    const piece = value.subarray(from, from + size)
    field.place = writePieces(bytes, { code, value: piece, place: field.place })
    from += size
  }
  return true
}

/** How many bytes of one value a field can still take. */
function roomIn({ place, end }: Field): number {
  const room = end - place
  return 255 * Math.floor(room / 257) + Math.max(0, (room % 257) - 2)
}

/** Ends the fields that options took; which these are, as bits. */
function endFields(bytes: Uint8Array, fields: readonly Field[]): number {
  let bits = 0
  for (const { start, place, bit } of fields) {
    if (bit === 0 || place === start) continue
    bytes[place] = codes.end
    bits |= bit
  }
  return bits
}
