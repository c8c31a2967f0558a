import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { addressBits, parseAddress } from '../../ip/address.ts'
import type { LeaseEvent } from './lease-events.ts'
import { programPath } from './supervise.ts'

// dnsmasq gives an address to nobody else while there is a lease, and has no way to be told to forget
// one but the message by which a client gives it back.

export type Packet = {
  readonly version: 4 | 6
  readonly port: number
  readonly host: string
  readonly bytes: Buffer
}

/** A lease whose client is to have said that it no longer wants it. */
export type GivenBack = Pick<
  LeaseEvent,
  'version' | 'address' | 'mac_address' | 'client_id' | 'duid' | 'iaid'
>

/** DHCPRELEASE (RFC 2131 §4.4.6), or Release (RFC 8415 §18.2.7), to a server that has such an id. */
export function releasePacket(
  lease: GivenBack,
  {
    host4,
    host6,
    server_duid,
  }: { host4: string | null; host6: string | null; server_duid: string },
): Packet | null {
  if (lease.version === 4) {
    const bytes = lease.mac_address === null ? null : release4(lease, lease.mac_address)
    return host4 === null || !bytes ? null : { version: 4, port: 67, host: host4, bytes }
  }
  const bytes = lease.duid === null ? null : release6(lease, lease.duid, server_duid)
  return host6 === null || !bytes ? null : { version: 6, port: 547, host: host6, bytes }
}

const bytesOf = (text: string) => {
  const address = parseAddress(text)
  if (!address) throw new RangeError(`not an address: ${text}`)
  return Buffer.from(
    address.value.toString(16).padStart(addressBits(address.version) / 4, '0'),
    'hex',
  )
}

function release4({ address, client_id }: GivenBack, mac: string): Buffer {
  const head = Buffer.alloc(240)
  head.set([1, 1, 6, 0])
  randomBytes(4).copy(head, 4)
  bytesOf(address).copy(head, 12)
  Buffer.from(mac.replaceAll(':', ''), 'hex').copy(head, 28)
  head.writeUInt32BE(0x63_82_53_63, 236)
  const id = Buffer.from(client_id ?? '', 'hex')
  // Whichever address the client knows the server by: it is as if a relay had said so (RFC 5107).
  const server = bytesOf('127.0.0.1')
  const options = [
    Buffer.of(53, 1, 7, 54, 4, ...server),
    ...(id.length > 0 ? [Buffer.of(61, id.length), id] : []),
    Buffer.of(82, 6, 11, 4, ...server, 255),
  ]
  return Buffer.concat([head, ...options, Buffer.alloc(64)])
}

function release6({ address, iaid }: GivenBack, duid: string, server_duid: string): Buffer {
  const option = (code: number, ...parts: Buffer[]) => {
    const value = Buffer.concat(parts)
    return Buffer.concat([Buffer.of(0, code, value.length >> 8, value.length), value])
  }
  const association = Buffer.alloc(12)
  association.writeUInt32BE(iaid ?? 0)
  const lifetimes = Buffer.alloc(8)
  return Buffer.concat([
    Buffer.of(8),
    randomBytes(3),
    option(1, Buffer.from(duid, 'hex')),
    option(2, Buffer.from(server_duid, 'hex')),
    option(3, association, option(5, bytesOf(address), lifetimes)),
  ])
}

/** Sends packets from within a network namespace, which a process cannot enter by itself. */
export async function sendPackets(namespace: string | null, packets: readonly Packet[]) {
  if (packets.length === 0) return
  if (namespace === null) {
    await Promise.all(packets.map(send))
    return
  }
  const input = packets.map(({ bytes, ...to }) => ({ ...to, bytes: bytes.toString('hex') }))
  const command = ['netns', 'exec', namespace, process.execPath, '--eval', sender]
  const child = spawn('ip', command, {
    env: { PATH: programPath },
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  child.stdin.on('error', () => {})
  child.stdin.end(JSON.stringify(input))
  await new Promise<void>(resolve => {
    child.once('error', () => resolve())
    child.once('close', () => resolve())
  })
}

async function send({ version, port, host, bytes }: Packet) {
  const socket = createSocket(`udp${version}`)
  await new Promise<void>(resolve => {
    socket.once('error', () => resolve())
    socket.send(bytes, port, host, () => resolve())
  })
  socket.close()
}

const sender = `
let text = ''
process.stdin.on('data', part => { text += part }).on('end', () => {
  for (const { version, port, host, bytes } of JSON.parse(text)) {
    const socket = require('node:dgram').createSocket('udp' + version)
    socket.on('error', () => socket.close())
    socket.send(Buffer.from(bytes, 'hex'), port, host, () => socket.close())
  }
})`
