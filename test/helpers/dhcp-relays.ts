import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { networkInterfaces } from 'node:os'
import { type PacketParts, packetOf } from './dhcp4-packets.ts'
import { option as option4, read } from './dhcp4-world.ts'
import { holding, option as option6, packet, relayed, show } from './dhcp6.ts'

// Relays on the loopback interface, at ports of their own (RFC 8357), and clients behind them.

const patienceMs = 10_000

async function openRelay(type: 'udp4' | 'udp6', address: string, port: number) {
  const socket = createSocket(type)
  socket.bind(0, address)
  await once(socket, 'listening')
  const heard: Buffer[] = []
  let wake = () => {}
  socket.on('message', bytes => {
    heard.push(bytes)
    wake()
  })
  /** The next that came. */
  async function next(): Promise<Buffer> {
    const deadline = setTimeout(() => wake(), patienceMs)
    while (heard.length === 0) {
      let isOver = true
      await new Promise<void>(resolve => {
        wake = () => {
          isOver = heard.length === 0
          resolve()
        }
      })
      if (isOver) throw new Error('nobody answered')
    }
    clearTimeout(deadline)
    return heard.shift() ?? Buffer.alloc(0)
  }
  const send = (bytes: Uint8Array) => socket.send(bytes, port, address)
  return { send, next, close: () => closed(socket) }
}

const closed = async (socket: Socket) => {
  socket.close()
  await once(socket, 'close')
}

/** A relay of DHCPv4 at 127.0.0.1, with its circuit `beef`. */
export async function openRelay4(port: number) {
  const relay = await openRelay('udp4', '127.0.0.1', port)
  const information = option4(82, `${option4(1, 'beef')}1300`)
  const send = ({ options = '', ...parts }: PacketParts) =>
    relay.send(packetOf({ giaddr: '127.0.0.1', options: options + information, ...parts }))
  const next = async () => {
    const message = read(await relay.next())
    const dotted = [24, 16, 8, 0].map(bits => (message.yiaddr >>> bits) & 255).join('.')
    return { type: message.options.get(53)?.[0], yiaddr: dotted, xid: message.xid, message }
  }
  return {
    ...relay,
    send,
    next,
    ask(parts: PacketParts) {
      send(parts)
      return next()
    },
  }
}

/** A relay of DHCPv6 at ::1, with its Interface-Id `beef`. */
export async function openRelay6(port: number) {
  const relay = await openRelay('udp6', '::1', port)
  return {
    ...relay,
    /** What a client behind it is answered. */
    async ask(hex: string, peer = 'fe80::5') {
      const said = [option6(18, 'beef'), option6(135, '0000'), holding(hex)]
      relay.send(packet(relayed('forward', 0, ['::', peer], ...said)))
      return show(await relay.next())
    },
  }
}

export const hasIpv6 = Object.values(networkInterfaces())
  .flat()
  .some(one => one?.address === '::1')
