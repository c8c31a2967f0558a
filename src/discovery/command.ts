import type { Command } from 'commander'
import { ConfigError } from '../config.ts'
import { DataFolderInUse } from '../db/data-folder-lock.ts'
import { loadDiscoveryConfig } from './config.ts'
import { DiscoveryError } from './driver.ts'
import { drivers } from './drivers.ts'

/** `melange dhcp`: the file is that of `--config`. */
export function addDhcpCommand(program: Command, version: string): void {
  program
    .command('dhcp')
    .description('answer machines that ask for their address; see docs/guides/dhcp.md')
    .action(async () => {
      try {
        await run(program.opts<{ config?: string }>().config, version)
      } catch (error) {
        process.stderr.write(`melange: ${explain(error)}\n`)
        process.exit(2)
      }
    })
}

const shutdownMilliseconds = 10_000

async function run(file: string | undefined, version: string): Promise<void> {
  const config = loadDiscoveryConfig(file)
  const createDriver = await drivers[config.driver]()
  const { discover } = await import('./discover.ts')
  const { failed, close } = await discover(config, { version, createDriver })
  const stopped = new Promise<void>(resolve => {
    process.once('SIGTERM', () => resolve())
    process.once('SIGINT', () => resolve())
  })
  await Promise.race([stopped, failed]).finally(() => {
    setTimeout(() => process.exit(1), shutdownMilliseconds).unref()
    return close()
  })
  process.exit(0)
}

/** What a person can mend is said in one line. */
function explain(error: unknown): string {
  const isPlain =
    error instanceof ConfigError ||
    error instanceof DiscoveryError ||
    error instanceof DataFolderInUse
  const { code, message, stack } = error as NodeJS.ErrnoException
  if (isPlain || code === 'EADDRINUSE' || code === 'EACCES' || code === 'EADDRNOTAVAIL') {
    return message
  }
  return stack ?? message
}
