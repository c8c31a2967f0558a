import type { Socket } from 'node:dgram'
import { Socket as Pipe } from 'node:net'
import { type Binding, bindSocket } from './bind.ts'
import { createFrameReader, encodeFrame } from './frames.ts'

// A program of its own: it is started in a network namespace, binds sockets there, and either hands
// them over and ends, or carries their packets until its parent is done.

/** What the parent asks for. */
export type Task = {
  readonly type: 'hand_over' | 'carry'
  readonly sockets: readonly (Binding & { readonly port: number })[]
}

/** What became of one of the sockets, which comes along when it is handed over. */
export type Outcome = { readonly index: number; readonly error: string | null }

/** Where frames go, behind the standard streams and the channel of messages. */
const pipeFd = 4

/** So much may wait for the parent; what comes beyond that is lost. */
const waitingMax = 8 << 20

const tell = (outcome: Outcome, handle?: Socket) =>
  new Promise<void>((resolve, reject) => {
    process.send?.(outcome, handle, undefined, error => (error ? reject(error) : resolve()))
  })

async function work({ type, sockets }: Task) {
  const pipe = type === 'carry' ? new Pipe({ fd: pipeFd, readable: true, writable: true }) : null
  const open = new Map<number, Socket>()
  for (const [index, binding] of sockets.entries()) {
    try {
      const socket = await bindSocket(binding, binding.port)
      if (!pipe) {
        await tell({ index, error: null }, socket)
        socket.close()
        continue
      }
      open.set(index, socket)
      socket.on('message', (packet, { address, port }) => {
        if (pipe.writableLength > waitingMax) return
        pipe.write(encodeFrame({ socket: index, address, port, packet }))
      })
      socket.on('error', () => {}) // A packet that cannot be sent is lost, as on the wire.
      await tell({ index, error: null })
    } catch (error) {
      await tell({ index, error: error instanceof Error ? error.message : String(error) })
    }
  }
  if (!pipe) {
    if (process.connected) process.disconnect()
    return
  }
  const read = createFrameReader(({ socket, address, port, packet }) => {
    open.get(socket)?.send(packet, port, address)
  })
  pipe.on('data', read)
  pipe.on('error', () => process.exit())
  pipe.on('close', () => process.exit())
}

process.once('message', task => void work(task as Task))
process.once('disconnect', () => process.exit())
