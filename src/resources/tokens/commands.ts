import { type Command, InvalidArgumentError } from 'commander'
import { unbounded } from '../../access/bound-store.ts'
import type { Database } from '../../db/database.ts'
import type { Token } from './schema.ts'
import { createToken, listTokens, resetAdminToken, revokeToken } from './store.ts'

type Run = (work: (db: Database) => Promise<void>) => void

type CreateOptions = {
  readonly name: string
  readonly description?: string
  readonly project?: string
  readonly system?: boolean
  readonly role: readonly string[]
  readonly expires?: number
}

/**
 * Adds `melange token create`, `list` and `revoke`, and `melange reset-admin-token`. Whoever has the
 * database may do all of it.
 */
export function addTokenCommands(program: Command, run: Run): void {
  program
    .command('reset-admin-token')
    .description('replace the admin token, and print the new one')
    .action(() => run(async db => console.log(await resetAdminToken(db))))

  const token = program.command('token').description('tokens of our own: docs/guides/tokens.md')
  token
    .command('create')
    .description('make a token, and print it; it is shown once')
    .requiredOption('--name <name>', 'what it is for')
    .option('--description <text>', 'more of that')
    .option('--project <id>', 'the project that it is for')
    .option('--system', 'instead of a project: for all of the system')
    .requiredOption('--role <name>', 'what it may do; more than one may be given', addName, [])
    .option('--expires <time>', 'after how long it ends, such as 12h or 30d', readLifetime)
    .action((options: CreateOptions) =>
      run(async db => {
        const { name, description, project, system, role, expires } = options
        const request = {
          name,
          ...(description !== undefined && { description }),
          ...(project !== undefined && { project_id: project }),
          ...(system && { system_scope: 'all' as const }),
          roles: [...role],
          ...(expires !== undefined && { lifetime_seconds: expires }),
        }
        const { token, secret } = await createToken(db, request, null)
        process.stderr.write(`${lineOf(token)}\n`)
        console.log(secret)
      }),
    )
  token
    .command('list')
    .description('print tokens, never their secrets')
    .option('--project <id>', 'only those of a project')
    .option('--all', 'also those that ended')
    .action((options: { project?: string; all?: boolean }) =>
      run(async db => {
        const state = options.all ? 'all' : 'active'
        for (let after: string | null = null; ; ) {
          const filter = { project_id: options.project, state } as const
          const found = await listTokens(db, filter, { limit, after, bound: unbounded })
          for (const token of found.slice(0, limit)) console.log(lineOf(token))
          const last: Token | undefined = found[limit - 1]
          if (found.length <= limit || !last) return
          after = last.id
        }
      }),
    )
  token
    .command('revoke')
    .description('end a token; servers that run see it within tokens.cache_seconds')
    .argument('<id>', 'as `list` prints it', readId)
    .action((id: string) =>
      run(async db => console.log(lineOf(await revokeToken(db, id, { mayBeLast: true })))),
    )
}

const limit = 500

const addName = (name: string, names: readonly string[]): string[] => {
  if (name === '' || name.length > 255)
    throw new InvalidArgumentError('It has 1 to 255 characters.')
  return [...new Set([...names, name])]
}

const unitSeconds = { s: 1, m: 60, h: 3600, d: 86_400 }

/** Seconds of `90s`, `15m`, `12h` or `30d`. */
export function readLifetime(text: string): number {
  const [, count, unit] = /^([1-9]\d{0,5})([smhd])$/.exec(text) ?? []
  if (count === undefined) {
    throw new InvalidArgumentError('Write a number and s, m, h or d, for instance 30d.')
  }
  return Number(count) * unitSeconds[unit as keyof typeof unitSeconds]
}

function readId(text: string): string {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return text
  throw new InvalidArgumentError('It is a UUID.')
}

/** A token in one line. */
function lineOf({ id, prefix, name, project_id, roles, expires_at, revoked_at }: Token): string {
  const scope = project_id === null ? 'system' : `project ${project_id}`
  const end = revoked_at ? `revoked ${revoked_at}` : expires_at && `expires ${expires_at}`
  const parts = [id, `${prefix ?? 'melange_'}…`, scope, roles.join(','), end ?? 'no end', name]
  return parts.join('  ')
}
