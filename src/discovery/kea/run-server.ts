import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { IpVersion } from '../../ip/address.ts'
import { DiscoveryError } from '../driver.ts'
import { createPauses } from '../pauses.ts'
import type { Json, Ours } from './configuration.ts'
import { createControl, KeaRefused } from './control.ts'
import { failureFiles, withOurs } from './merge.ts'
import { type Child, startChild } from './process.ts'
import type { KeaServer } from './server.ts'

export type RunOptions = {
  readonly version: IpVersion
  readonly namespace: string | null
  /** For all its files; it is its own. */
  readonly folder: string
  readonly program: string
  /** The library of commands on leases. */
  readonly hook: string
  readonly database: Json
  /** Where it listens, in Kea's words; asked for each time it is configured. */
  readonly interfaces: () => Promise<readonly string[]>
  readonly log: Logger
}

const pausesMilliseconds = { first: 500, longest: 30_000 }
const steadyMilliseconds = 60_000
const startMilliseconds = 60_000
/** Addresses of sockets (unix(7)) hold no more. */
const socketPathMax = 107

/** A Kea that is started and watched here. */
export function createRunServer(options: RunOptions): KeaServer {
  const { version, namespace, folder, program, database, log } = options
  const name = `kea-dhcp${version}${namespace === null ? '' : ` in ${namespace}`}`
  const path = (file: string) => join(folder, file)
  const socket = path('control.sock')
  const control = createControl(socket)
  let child: Child | null = null
  let isStopping = false
  let fault: string | null = null
  let applied = ''
  const pauses = createPauses(pausesMilliseconds)
  let restart = new AbortController()

  async function write(ours: Ours): Promise<string> {
    const base = baseConfig(version, path, await options.interfaces())
    const needs = { database, hook: options.hook, failures: failureFiles(version, folder) }
    const text = JSON.stringify({ [`Dhcp${version}`]: withOurs(version, base, ours, needs) })
    // It holds the password of the database.
    writeFileSync(path('kea.json'), text, { mode: 0o600 })
    return text
  }

  async function launch(): Promise<void> {
    rmSync(socket, { force: true })
    const started = Date.now()
    const begun = startChild({
      command: [
        ...['env', `KEA_PIDFILE_DIR=${folder}`, `KEA_LOCKFILE_DIR=${folder}`],
        ...(namespace === null ? [] : ['ip', 'netns', 'exec', namespace]),
        ...[program, '-c', path('kea.json')],
      ],
      folder,
      onLine: line => logLine(log, name, line),
    })
    child = begun
    void begun.ended.then(reason => onEnd(begun, started, reason))
    await untilReady(begun)
    fault = null
  }

  async function untilReady(begun: Child): Promise<void> {
    const deadline = Date.now() + startMilliseconds
    for (;;) {
      const ended = await Promise.race([begun.ended, sleep(25, null)])
      if (ended !== null) throw new KeaRefused(`${name}: ${begun.complaint() ?? ended}`)
      const status = await control.command('status-get').catch(() => null)
      if (status) return
      if (Date.now() > deadline) {
        await begun.end()
        throw new Error(`${name} does not answer`)
      }
    }
  }

  function onEnd(begun: Child, started: number, reason: string): void {
    if (child !== begun || isStopping) return
    child = null
    fault = `${name} has ended: ${begun.complaint() ?? reason}`
    log.error({ server: name, reason }, 'Kea has ended, and is started again')
    if (Date.now() - started > steadyMilliseconds) pauses.reset()
    void startAgain()
  }

  async function startAgain(): Promise<void> {
    await pauses.wait(restart.signal)
    if (isStopping || child || applied === '') return
    await launch().catch((error: Error) => {
      fault = error.message
    })
  }

  return {
    version,
    name,
    control,
    failureFiles: failureFiles(version, folder),
    leaseFile: () => path('leases.csv'),
    problems: () => (fault === null ? [] : [fault]),
    async configure(ours) {
      if (socket.length > socketPathMax) {
        throw new DiscoveryError(`state_dir: ${socket} is too long a name for a control socket`)
      }
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      chmodSync(folder, 0o700)
      if (applied === '') await endStale(path(`kea.kea-dhcp${version}.pid`), path('kea.json'))
      const before = applied
      const text = await write(ours)
      if (text === before && child) return
      if (child) await control.command('config-set', JSON.parse(text) as Json)
      else await launch()
      applied = text
    },
    async stop() {
      isStopping = true
      restart.abort()
      restart = new AbortController()
      await child?.end()
      child = null
    },
  }
}

/** All that is no subnet. */
function baseConfig(
  version: IpVersion,
  path: (file: string) => string,
  interfaces: readonly string[],
): Json {
  return {
    'interfaces-config': {
      interfaces,
      // An interface may get its addresses later.
      'service-sockets-max-retries': 1_000_000,
      'service-sockets-retry-wait-time': 2000,
      ...(version === 4 && { 'dhcp-socket-type': 'raw' }),
    },
    'control-socket': { 'socket-type': 'unix', 'socket-name': path('control.sock') },
    'lease-database': {
      type: 'memfile',
      persist: true,
      name: path('leases.csv'),
      'lfc-interval': 3600,
    },
    // Each look-up waits for the database.
    'multi-threading': { 'enable-multi-threading': true, 'thread-pool-size': 4 },
    'decline-probation-period': 600,
    'ddns-send-updates': false,
    ...(version === 4
      ? { 'option-def': [{ name: 'melange-43', code: 43, type: 'binary', space: 'dhcp4' }] }
      : {
          'data-directory': path(''),
          'mac-sources': ['client-link-addr-option', 'ipv6-link-local', 'duid'],
        }),
    loggers: [
      {
        name: `kea-dhcp${version}`,
        severity: 'WARN',
        output_options: [{ output: 'stdout', flush: true }],
      },
    ],
  }
}

/** Kea's levels, in its lines: `2026-01-02 03:04:05.678 WARN  [kea-dhcp4…] NAME text`. */
const levels = /^\S+ \S+ (WARN|ERROR|FATAL)\b/

function logLine(log: Logger, server: string, line: string): void {
  const level = levels.exec(line)?.[1]
  if (level === 'ERROR' || level === 'FATAL') log.error({ server, line }, 'Kea says')
  else log[level === 'WARN' ? 'info' : 'debug']({ server, line }, 'Kea says')
}

/** Ends the Kea of a process before this one that could not end it. */
async function endStale(pidFile: string, config: string): Promise<void> {
  const pid = Number(readIfThere(pidFile))
  const isIt = () => pid > 1 && readIfThere(`/proc/${pid}/cmdline`).split('\0').includes(config)
  for (let attempt = 0; isIt() && attempt < 100; attempt += 1) {
    process.kill(pid, attempt < 80 ? 'SIGTERM' : 'SIGKILL')
    await sleep(100)
  }
  rmSync(pidFile, { force: true })
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
