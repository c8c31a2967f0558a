#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { type Config, ConfigError, loadConfig } from './config.ts'
import { DataFolderInUse } from './db/data-folder-lock.ts'
import type { OpenDatabase } from './db/database.ts'
import { NewerSchema } from './db/migrate.ts'
import { addDhcpCommand } from './discovery/command.ts'
import { IpamError } from './errors.ts'
import { addPolicyCommands } from './policy/commands.ts'
import { PolicyError } from './policy/policy-error.ts'
import { addTokenCommands } from './resources/tokens/commands.ts'

const { version } = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
) as { version: string }

// What only one command needs is loaded by it: that takes longer than most commands do.
const loadAudit = () => import('./audit/store.ts')
const loadDatabase = () => import('./db/open.ts')
const loadServe = () => import('./serve.ts')

const program = new Command('melange')
  .description('The address service of a cloud.')
  .version(version)
  .option('-c, --config <file>', 'YAML file; see docs/configuration.md')

program
  .command('serve')
  .description('serve the API')
  .action(() =>
    attempt(async config => {
      const { serve } = await loadServe()
      const server = await serve(config, version)
      closeOnSignal(server.close, config.api.shutdown_seconds)
      if (server.reload) process.on('SIGHUP', server.reload)
      server.greet()
    }),
  )

program
  .command('migrate')
  .description("bring the database up to this program's schema, and end")
  .action(() => attempt(config => withDatabase(config, async () => undefined)))

program
  .command('audit')
  .description('recompute space, counts and invariants; status 1 if something differs')
  .option('--json', 'one JSON object')
  .action((options: { json?: boolean }) =>
    attempt(config =>
      withDatabase(config, async db => {
        const { audit } = await loadAudit()
        const { differences, checked } = await audit(db)
        if (options.json) console.log(JSON.stringify({ checked, differences }))
        else {
          for (const { check, subject, detail } of differences) {
            console.log(`${check}: ${subject}: ${detail}`)
          }
          console.log(
            `${checked.blocks} blocks, ${checked.allocations} allocations, ` +
              `${checked.ended} ended: ${differences.length} differences`,
          )
        }
        if (differences.length > 0) process.exitCode = 1
      }),
    ),
  )

addTokenCommands(program, work => attempt(config => withDatabase(config, work)))
addPolicyCommands(program, attempt)
addDhcpCommand(program, version)

await program.parseAsync()

/** Runs a command; what a person can mend is said in one line, with status 2. */
async function attempt(work: (config: Config) => Promise<void>): Promise<void> {
  let config: Config | undefined
  try {
    config = loadConfig(program.opts<{ config?: string }>().config)
    await work(config)
  } catch (error) {
    process.stderr.write(`melange: ${await explain(error, config)}\n`)
    // Not left to the event loop: the driver keeps a connection that it gave up for up to a minute.
    process.exit(2)
  }
}

async function explain(error: unknown, config: Config | undefined): Promise<string> {
  if (error instanceof ConfigError || error instanceof PolicyError) return error.message
  const { code, message, path } = error as NodeJS.ErrnoException
  if (!config) return message
  const at = (await loadDatabase()).databaseName(config)
  if (path !== undefined) return `${at}: ${message}`
  if (code === 'EADDRINUSE') return `${config.listen} is in use: set MELANGE_LISTEN to a free port`
  if (code === 'EADDRNOTAVAIL' || code === 'EACCES') {
    return `cannot listen on ${config.listen}: ${message}`
  }
  if (error instanceof DataFolderInUse) return message
  if (error instanceof NewerSchema) return `${at}: ${message}`
  if (error instanceof IpamError && error.code === 'database_unavailable') {
    return `${at} does not answer: ${reasonOf(error.cause)}`
  }
  if (error instanceof IpamError && error.code !== 'internal') return error.message
  // The driver's own refusals, such as of a missing password, have no code.
  const isFromDatabase = /^[0-9A-Z]{5}$/.test(code ?? '') || /^SASL|SSL connection/.test(message)
  if (isFromDatabase) return `${at}: ${message}`
  return (error as Error).stack ?? message
}

/** An attempt at several addresses fails with several errors, and no message of its own. */
function reasonOf(cause: unknown): string {
  const { message, code } = cause as NodeJS.ErrnoException
  return message || code || 'no reason given'
}

async function withDatabase(config: Config, work: (db: OpenDatabase) => Promise<void>) {
  const onError = (error: Error) => process.stderr.write(`melange: ${error.message}\n`)
  const { openDatabase } = await loadDatabase()
  const db = await openDatabase({ ...config, onError })
  try {
    await work(db)
  } finally {
    await db.close()
  }
}

/** Requests under way are finished; what takes too long is cut off. */
function closeOnSignal(close: () => Promise<void>, seconds: number): void {
  const stop = () => {
    setTimeout(() => process.exit(1), seconds * 1000).unref()
    close().then(
      () => process.exit(0),
      error => {
        process.stderr.write(`melange: ${(error as Error).message}\n`)
        process.exit(1)
      },
    )
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
}
