import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { DiscoveryError } from '../driver.ts'

/** The first of the sockets that are handed over (sd_listen_fds(3)). */
const firstFd = 3

/**
 * Sockets that whoever started this process bound to interfaces: file descriptors by the names that
 * they were given, which are those of the interfaces. systemd hands them over (systemd.socket(5),
 * FileDescriptorName=, BindToDevice=).
 */
export function inheritedSockets(
  environment: Readonly<Record<string, string | undefined>> = process.env,
  pid: number = process.pid,
): ReadonlyMap<string, number> {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '' } = environment
  if (Number(LISTEN_PID) !== pid) return new Map()
  const names = LISTEN_FDNAMES.split(':').slice(0, Number(LISTEN_FDS))
  return new Map(names.map((name, index) => [name, firstFd + index]))
}

const run = promisify(execFile)

/**
 * Makes sure that sockets are bound to the interfaces whose names they have, where `ss` is there to
 * tell: one that is not would answer machines of other networks.
 *
 * @throws {DiscoveryError}
 */
export async function checkDevices(names: Iterable<string>, port: number): Promise<void> {
  const wanted = [...names]
  if (wanted.length === 0) return
  let table: string
  try {
    table = (await run('ss', ['-Huln', `sport = :${port}`], { timeout: 5000 })).stdout
  } catch {
    return
  }
  const bound = devicesIn(table)
  const loose = wanted.find(name => !bound.has(name))
  if (loose === undefined) return
  throw new DiscoveryError(
    `the socket ${loose} that was handed over is not bound to the interface ${loose} at port ${port} (systemd: BindToDevice=${loose})`,
  )
}

/** The interfaces to which sockets are bound, in what `ss` says. */
export const devicesIn = (table: string): ReadonlySet<string> =>
  new Set([...table.matchAll(/\s\S*%([^\s:\]]+)\]?:\d+\s/g)].map(([, name = '']) => name))
