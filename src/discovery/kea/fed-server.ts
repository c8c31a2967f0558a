import type { Logger } from 'pino'
import type { IpVersion } from '../../ip/address.ts'
import { DiscoveryError } from '../driver.ts'
import type { Json, Ours } from './configuration.ts'
import { createControl, KeaRefused } from './control.ts'
import { failureFiles, type Needs, withOurs, withoutOurs } from './merge.ts'
import type { KeaServer } from './server.ts'

export type FedOptions = {
  readonly version: IpVersion
  readonly socket: string
  readonly database: Json
  readonly failures_folder: string | null
  /** What it was told is no longer there: it was started again, or others configured it. */
  readonly onLost: () => void
  readonly log: Logger
}

const lookMilliseconds = 3000
/** Kea says in whole seconds when it was configured. */
const toleranceMilliseconds = 2500

/** A Kea that others run. What they have in its configuration stays. */
export function createFedServer({
  version,
  socket,
  database,
  failures_folder,
  onLost,
  log,
}: FedOptions): KeaServer {
  const name = `kea-dhcp${version} at ${socket}`
  const control = createControl(socket)
  const failures = failures_folder === null ? [] : failureFiles(version, failures_folder)
  const needs: Needs = { database, hook: null, failures }
  const whole = `Dhcp${version}`
  let leaseFile = ''
  let fault: string | null = null
  let applied = ''
  let told: { readonly pid: unknown; readonly at: number } | null = null
  let timer: NodeJS.Timeout | null = null

  async function running(): Promise<Json> {
    const found = (await control.command('config-get'))?.[whole]
    if (!found) throw new DiscoveryError(`${name} is no kea-dhcp${version}`)
    return found as Json
  }

  async function look(): Promise<void> {
    try {
      const status = await control.command('status-get')
      fault = null
      const configured = Date.now() - Number(status?.reload ?? 0) * 1000
      const isOther =
        told && (status?.pid !== told.pid || configured > told.at + toleranceMilliseconds)
      if (!isOther) return
      log.warn(
        { server: name },
        'Kea was started or configured anew, and is told its subnets again',
      )
      told = null
      onLost()
    } catch (error) {
      fault = `${name} does not answer: ${(error as Error).message}`
    }
  }

  return {
    version,
    name,
    control,
    failureFiles: failures,
    leaseFile: () => leaseFile,
    problems: () => (fault === null ? [] : [fault]),
    async configure(ours: Ours) {
      const config = await running()
      leaseFile = leaseFileOf(version, name, config)
      await checkCommands(name, await control.command('list-commands'))
      const text = JSON.stringify(ours)
      // Kea opens its sockets and reads its leases anew, and so is left alone if nothing differs.
      if (told === null || text !== applied) {
        await control.command('config-set', { [whole]: withOurs(version, config, ours, needs) })
      }
      applied = text
      const status = await control.command('status-get')
      told = { pid: status?.pid, at: Date.now() }
      timer ??= setInterval(() => void look(), lookMilliseconds)
    },
    async stop() {
      if (timer) clearInterval(timer)
      if (told === null) return
      told = null
      try {
        await control.command('config-set', { [whole]: withoutOurs(version, await running()) })
      } catch (error) {
        log.error({ err: error, server: name }, 'Kea goes on with the subnets of Melange')
      }
    },
  }
}

/** Where Debian's Kea keeps leases if nothing else is said. */
const usualLeaseFile = (version: IpVersion) => `/var/lib/kea/kea-leases${version}.csv`

function leaseFileOf(version: IpVersion, name: string, config: Json): string {
  const database = (config['lease-database'] ?? {}) as Json
  if ((database.type ?? 'memfile') !== 'memfile' || database.persist === false) {
    throw new DiscoveryError(
      `${name} keeps its leases in ${String(database.type)}: Melange reads those of a memfile with persist`,
    )
  }
  return String(database.name ?? usualLeaseFile(version))
}

async function checkCommands(name: string, commands: Json | readonly unknown[] | null) {
  const list = Array.isArray(commands) ? commands : []
  if (!list.includes('lease4-del')) {
    throw new KeaRefused(`${name} has not loaded its library libdhcp_lease_cmds.so`)
  }
}
