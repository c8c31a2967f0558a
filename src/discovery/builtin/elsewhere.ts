import { type ChildProcess, spawn } from 'node:child_process'
import { Socket } from 'node:dgram'
import type { Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { type Channel, channelOf } from './channel.ts'
import { createFrameReader, encodeFrame, type Frame } from './frames.ts'
import type { Outcome, Task } from './opener.ts'
import type { SocketPlan } from './plan.ts'

type Ports = Readonly<Record<4 | 6, number>>

/** A socket, or why there is none. */
type Opened = Channel | string

/**
 * Binds sockets in another network namespace; one outcome for each of them, in their order.
 *
 * Those of DHCPv4 are handed over by a process that ends at once. Those of DHCPv6 stay with one that
 * carries their packets: an address of a link comes with the number of its interface, and Node turns
 * that into a name, which is not to be had outside of the namespace.
 */
export async function openElsewhere(
  namespace: string,
  plans: readonly SocketPlan[],
  ports: Ports,
): Promise<Opened[]> {
  const open = async (version: 4 | 6) => {
    const some = plans.filter(plan => plan.version === version)
    if (some.length === 0) return []
    const sockets = some.map(plan => ({ ...plan, port: ports[version] }))
    const outcomes =
      version === 4
        ? await handOver(namespace, { type: 'hand_over', sockets })
        : await carry(namespace, { type: 'carry', sockets })
    return some.map((plan, index) => [plan, outcomes[index] ?? 'nothing was heard of it'] as const)
  }
  const opened = new Map((await Promise.all([open(4), open(6)])).flat())
  return plans.map(plan => opened.get(plan) ?? 'nothing was heard of it')
}

const startMs = 15_000
const stderrMax = 1000

/** Starts the opener in a namespace. `ended` is what it said, if it ended badly. */
function startOpener(namespace: string, task: Task) {
  // Beside this file, and of its kind: TypeScript in development.
  const program = fileURLToPath(import.meta.url).replace(/elsewhere(?=\.[jt]s$)/, 'opener')
  const command = [process.execPath, ...process.execArgv, ...lean, program]
  const child = spawn('ip', ['netns', 'exec', namespace, ...command], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc', 'pipe'],
  })
  let said = ''
  child.stderr?.on('data', chunk => {
    said = (said + chunk).slice(-stderrMax)
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), startMs)
  const ended = new Promise<string>(resolve => {
    const end = (reason: string) => {
      clearTimeout(timer)
      resolve(said.trim().split('\n').at(-1) || reason)
    }
    child.once('error', error => end(error.message))
    child.once('exit', (code, signal) => end(`the opener ended with ${code ?? signal}`))
  })
  let isRunning = false
  child.once('spawn', () => {
    isRunning = true
    child.send(task, () => {}) // If that fails, it ends.
  })
  // What it said may be heard after its end.
  const heard = ended.then(reason =>
    isRunning && child.connected
      ? new Promise<string>(resolve => child.once('disconnect', () => resolve(reason)))
      : reason,
  )
  return { child, ended: heard, began: () => clearTimeout(timer) }
}

/** Its packets are few and its life is dull. */
const lean = ['--max-semi-space-size=1', '--max-old-space-size=64']

async function handOver(namespace: string, task: Task): Promise<Opened[]> {
  const { child, ended } = startOpener(namespace, task)
  const opened: Opened[] = []
  child.on('message', (message, handle) => {
    const { index, error } = message as Outcome
    if (handle instanceof Socket) opened[index] = channelOf(handle)
    else opened[index] = error ?? 'the socket was lost on its way'
  })
  const said = await ended
  return task.sockets.map((_, index) => opened[index] ?? said)
}

async function carry(namespace: string, task: Task): Promise<Opened[]> {
  const { child, ended, began } = startOpener(namespace, task)
  const outcomes = new Map<number, string | null>()
  const told = new Promise<null>(resolve => {
    child.on('message', message => {
      const { index, error } = message as Outcome
      outcomes.set(index, error)
      if (outcomes.size === task.sockets.length) resolve(null)
    })
  })
  const failure = await Promise.race([told, ended])
  if (failure !== null) return task.sockets.map(() => failure)
  began()
  return carriedChannels(
    child,
    ended,
    task.sockets.map((_, index) => outcomes.get(index) ?? null),
  )
}

/** So much may wait for the opener; what comes beyond that is lost. */
const waitingMax = 8 << 20

function carriedChannels(
  child: ChildProcess,
  ended: Promise<string>,
  errors: readonly (string | null)[],
): Opened[] {
  const pipe = child.stdio[4] as Duplex
  const listeners = new Map<number, Parameters<Channel['listen']>[0]>()
  let left = errors.filter(error => error === null).length
  const end = () => child.kill('SIGKILL')
  if (left === 0) end()
  pipe.on(
    'data',
    createFrameReader(({ socket, packet, address, port }: Frame) => {
      listeners.get(socket)?.onPacket(packet, { address, port })
    }),
  )
  pipe.on('error', () => {}) // It goes with the process.
  void ended.then(() => {
    for (const { onGone } of listeners.values()) onGone()
  })
  return errors.map((error, socket): Opened => {
    if (error !== null) return error
    return {
      room: null,
      listen: given => void listeners.set(socket, given),
      send(packet, port, address) {
        if (pipe.writableLength > waitingMax) return
        pipe.write(encodeFrame({ socket, address, port, packet }))
      },
      close() {
        if (!listeners.delete(socket)) return
        left -= 1
        if (left === 0) end()
      },
    }
  })
}
