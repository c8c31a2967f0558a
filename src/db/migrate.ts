import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { Type } from 'typebox'
import { type OpenDatabase, rows } from './database.ts'
import { sql } from './sql.ts'

const root = new URL('../../sql/', import.meta.url)

/** The database was made by a newer program than this one. */
export class NewerSchema extends Error {
  override readonly name = 'NewerSchema'
}

const Migration = Type.Object({ number: Type.Integer() })
const FunctionsHash = Type.Object({ hash: Type.String() })

/**
 * Brings the schema up to what this program needs: the migrations that are missing, in order,
 * then all functions if their text has changed. Several programs may start at once: one works,
 * the others wait.
 *
 * @throws {NewerSchema} when the database knows migrations that this program does not.
 */
export async function migrate(db: OpenDatabase): Promise<void> {
  const migrations = readSqlFiles('migrations/')
  const functions = readSqlFiles('functions/')
  const hash = createHash('sha256')
  for (const { text } of functions) hash.update(text)
  const functionsHash = hash.digest('hex')

  return db.transaction(async tx => {
    await tx.query(sql`set local statement_timeout = 0`)
    await tx.query(sql`select pg_advisory_xact_lock(7809644627822473828)`)
    await tx.query(sql`
      create table if not exists schema_migrations (
        number int primary key, name text not null, applied_at timestamptz not null default now())`)
    await tx.query(sql`
      create table if not exists schema_functions (hash text not null)`)
    const known = new Set(
      (await rows(tx, Migration)`select number from schema_migrations`).map(row => row.number),
    )
    const newest = Math.max(0, ...known)
    const last = Math.max(...migrations.map(({ number }) => number))
    if (newest > last) {
      throw new NewerSchema(
        `the database has schema version ${newest}, but this program knows versions up to ${last}: ` +
          'start the newer Melange that made it',
      )
    }
    for (const { number, name, text } of migrations) {
      if (known.has(number)) continue
      await tx.execute(text)
      await tx.query(sql`
        insert into schema_migrations (number, name) values (${number}, ${name})`)
    }
    const [current] = await rows(tx, FunctionsHash)`select hash from schema_functions`
    if (current?.hash !== functionsHash) {
      for (const { text } of functions) await tx.execute(text)
      await tx.query(sql`delete from schema_functions`)
      await tx.query(sql`insert into schema_functions values (${functionsHash})`)
    }
  })
}

function readSqlFiles(folder: string): { number: number; name: string; text: string }[] {
  return readdirSync(new URL(folder, root))
    .filter(name => name.endsWith('.sql'))
    .sort()
    .map(name => ({
      number: Number.parseInt(name, 10),
      name,
      text: readFileSync(new URL(folder + name, root), 'utf8'),
    }))
}
