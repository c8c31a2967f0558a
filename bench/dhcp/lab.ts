import {
  type ChildProcess,
  type ChildProcessWithoutNullStreams,
  execFileSync,
  spawn,
  spawnSync,
} from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { endWithUs } from '../setup.ts'

/**
 * The one segment of the bench, the same for all servers: client n has the MAC `firstMac` + n, and
 * where it is known the addresses `hosts` + n. `pool` is for those that are not.
 */
export const segment = {
  firstMac: '02:00:00:00:00:00',
  4: {
    cidr: '10.96.0.0/12',
    netmask: '255.240.0.0',
    server: '10.96.0.1',
    clients: '10.96.0.2',
    hosts: '10.97.0.0',
    // Of 2 × 127 × 257 addresses: dnsmasq spreads clients badly over a power of two.
    pool: ['10.100.1.0', '10.100.255.254'],
  },
  6: {
    cidr: 'fd99::/64',
    server: 'fd99::1',
    clients: 'fd99::2',
    hosts: 'fd99::1:0:0',
    pool: ['fd99::2:0:0', 'fd99::2:ff:ffff'],
  },
} as const

export const serverInterface = 'served'
export const clientInterface = 'clients'

const prefix = 'ml-bench-'
const stopMs = 10_000

/** Two network namespaces, joined by one link, with nothing else in them; and a folder. */
export class Lab {
  readonly folder = mkdtempSync(join(tmpdir(), 'melange-bench-dhcp-'))
  readonly servers = `${prefix}${process.pid}-servers`
  readonly clients = `${prefix}${process.pid}-clients`
  readonly #guard: ChildProcess

  constructor() {
    removeLeftovers()
    // Others than root come to the sockets and files in it by their names.
    chmodSync(this.folder, 0o711)
    this.#guard = startGuard([this.servers, this.clients], this.folder)
    try {
      this.#make()
    } catch (error) {
      this.#guard.stdin?.end()
      throw error
    }
  }

  /** A new folder for one thing. */
  makeFolder(name: string): string {
    const folder = join(this.folder, name)
    mkdirSync(folder, { recursive: true })
    return folder
  }

  /** Starts a program in a namespace, or, one at a time, beside them. */
  start({ namespace, command, environment = {} }: StartOptions): Started {
    const [program = '', ...args] = namespace
      ? ['ip', 'netns', 'exec', namespace, ...command]
      : command
    const child = spawn(program, args, {
      cwd: this.folder,
      env: { ...process.env, ...environment },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    const forget = endWithUs(child)
    child.once('exit', forget)
    if (!namespace) {
      this.#guard.stdin?.write(`${child.pid ?? ''}\n`)
      child.once('exit', () => this.#guard.stdin?.write('\n'))
    }
    let said = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', chunk => (said = `${said}${chunk}`.slice(-4000)))
    }
    child.on('error', error => (said += String(error)))
    child.stdin.on('error', () => undefined) // That it has ended shows otherwise.
    return {
      child,
      said: () => said,
      isRunning: () =>
        child.pid !== undefined && child.exitCode === null && child.signalCode === null,
      stop: () => end(child),
    }
  }

  async close(): Promise<void> {
    const ended = once(this.#guard, 'exit')
    this.#guard.ref()
    this.#guard.stdin?.end()
    await ended
  }

  #make(): void {
    const { servers, clients } = this
    const sides = [
      { namespace: servers, device: serverInterface, side: 'server' },
      { namespace: clients, device: clientInterface, side: 'clients' },
    ] as const
    for (const { namespace } of sides) {
      ip('netns', 'add', namespace)
      // Addresses are unique here, and waiting for proof of it would take seconds.
      const noProof = 'for f in /proc/sys/net/ipv6/conf/*/accept_dad; do echo 0 >$f; done'
      ip('netns', 'exec', namespace, 'sh', '-c', noProof)
    }
    const far = ['type', 'veth', 'peer', 'name', clientInterface, 'netns', clients]
    ip('link', 'add', serverInterface, 'netns', servers, ...far)
    for (const { namespace, device, side } of sides) {
      const inside = (...args: string[]) => ip('-n', namespace, ...args)
      inside('link', 'set', 'lo', 'up')
      inside('addr', 'add', `${segment[4][side]}/12`, 'dev', device)
      inside('addr', 'add', `${segment[6][side]}/64`, 'dev', device, 'nodad')
      inside('link', 'set', device, 'up')
    }
  }
}

type StartOptions = {
  readonly namespace?: string
  readonly command: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
}

export type Started = {
  readonly child: ChildProcessWithoutNullStreams
  /** The end of what it said. */
  said(): string
  isRunning(): boolean
  stop(): Promise<void>
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 2] })
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), stopMs)
  await exit
  clearTimeout(timer)
}

/**
 * A shell program: when its input ends, it ends the process that was named last, and removes folder
 * $1, and namespaces $2 and $3 with all that runs there.
 */
const guardProgram = `while read -r process; do running=$process; done
if [ -n "$running" ]; then kill -s KILL "$running" 2>/dev/null; fi
folder=$1; shift
for name in "$@"; do
  ip netns pids "$name" 2>/dev/null | xargs --no-run-if-empty kill -s KILL
  ip netns del "$name" 2>/dev/null
done
rm -rf "$folder" || rm -rf "$folder"`

/** Removes the lab when it is told to, or when this process has ended, in whatever way. */
function startGuard(namespaces: readonly string[], folder: string): ChildProcess {
  const guard = spawn('sh', ['-c', guardProgram, 'sh', folder, ...namespaces], {
    stdio: ['pipe', 'ignore', 2],
    detached: true, // Ctrl-C is for us.
  })
  guard.unref()
  return guard
}

/** Namespaces of runs whose guard was ended, too. */
function removeLeftovers(): void {
  const { stdout } = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' })
  const living = new Set(readdirSync('/proc'))
  for (const [, name = '', pid = ''] of stdout.matchAll(/^(ml-bench-(\d+)-\w+)/gm)) {
    if (!living.has(pid)) ip('netns', 'del', name)
  }
}
