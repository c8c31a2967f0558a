import type { Socket } from 'node:dgram'
import type { Source } from './flow.ts'

/** A bound socket, in whichever process it is. */
export type Channel = {
  /** Begins to hand packets on, and says when something went wrong, or when it is gone for good. */
  listen(listeners: {
    readonly onPacket: (packet: Buffer, source: Source) => void
    readonly onTrouble: (error: Error) => void
    readonly onGone: () => void
  }): void
  send(bytes: Uint8Array, port: number, address: string): void
  close(): void
  /** How many bytes may wait there; null if that is not known. */
  readonly room: number | null
}

export function channelOf(socket: Socket): Channel {
  return {
    listen({ onPacket, onTrouble }) {
      socket.on('message', onPacket)
      socket.on('error', onTrouble)
    },
    send: (bytes, port, address) => socket.send(bytes, port, address),
    close: () => void socket.close(),
    room: socket.getRecvBufferSize() / 2, // The kernel counts what it needs for itself, too.
  }
}
