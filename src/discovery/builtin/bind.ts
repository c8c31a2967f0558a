import { createSocket, type Socket } from 'node:dgram'

/** What a socket is bound to. */
export type Binding = {
  readonly version: 4 | 6
  /** With its zone. */
  readonly address: string
  readonly groups: readonly { readonly address: string; readonly interface: string }[]
  readonly fd: number | null
}

/** So many bytes of packets may wait; 4 MiB hold some 6,000. */
export const receiveBytes = 4 << 20

type LookUp = (error: null, address: string, family: number) => void

/**
 * Binds a socket in the network namespace of this process.
 *
 * @throws {Error} as the system does
 */
export function bindSocket({ version, address, groups, fd }: Binding, port: number) {
  const socket = createSocket({
    type: version === 4 ? 'udp4' : 'udp6',
    reuseAddr: true, // Sockets for an address, and for all, stand side by side.
    ipv6Only: version === 6,
    // Packets go to addresses only: to look names up would put each of them off.
    lookup: (host: string, _options: unknown, done: LookUp) => done(null, host, version),
  })
  return new Promise<Socket>((resolve, reject) => {
    const fail = (error: Error) => {
      socket.close()
      reject(error)
    }
    socket.once('error', fail)
    socket.bind(fd === null ? { address, port, exclusive: true } : { fd }, () => {
      try {
        socket.off('error', fail)
        if (version === 4) socket.setBroadcast(true)
        for (const group of groups) socket.addMembership(group.address, `::%${group.interface}`)
        widen(socket)
        resolve(socket)
      } catch (error) {
        fail(error as Error)
      }
    })
  })
}

/** The kernel may give less: see `net.core.rmem_max`. */
function widen(socket: Socket) {
  try {
    socket.setRecvBufferSize(receiveBytes)
  } catch {
    // Then it stays as it is.
  }
}
