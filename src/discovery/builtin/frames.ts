// Packets between processes: a stream of frames, each with its length in front.

export type Frame = {
  /** Which of several sockets it came to, or leaves from. */
  readonly socket: number
  readonly port: number
  /** With its zone. */
  readonly address: string
  readonly packet: Buffer
}

const header = { length: 0, socket: 4, port: 6, address: 8, bytes: 9 } as const

export function encodeFrame(frame: Omit<Frame, 'packet'> & { readonly packet: Uint8Array }) {
  const address = Buffer.from(frame.address, 'latin1')
  const bytes = Buffer.allocUnsafe(header.bytes + address.length + frame.packet.length)
  bytes.writeUInt32BE(bytes.length, header.length)
  bytes.writeUInt16BE(frame.socket, header.socket)
  bytes.writeUInt16BE(frame.port, header.port)
  bytes.writeUInt8(address.length, header.address)
  address.copy(bytes, header.bytes)
  bytes.set(frame.packet, header.bytes + address.length)
  return bytes
}

function decodeFrame(bytes: Buffer): Frame {
  const end = header.bytes + bytes.readUInt8(header.address)
  return {
    socket: bytes.readUInt16BE(header.socket),
    port: bytes.readUInt16BE(header.port),
    address: bytes.toString('latin1', header.bytes, end),
    packet: bytes.subarray(end),
  }
}

/** Makes frames of the chunks of a stream, however these are cut. */
export function createFrameReader(onFrame: (frame: Frame) => void) {
  let rest: Buffer = Buffer.alloc(0)
  return (chunk: Buffer) => {
    let bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk
    while (bytes.length >= header.bytes) {
      const length = bytes.readUInt32BE(header.length)
      if (bytes.length < length) break
      onFrame(decodeFrame(bytes.subarray(0, length)))
      bytes = bytes.subarray(length)
    }
    rest = bytes
  }
}
