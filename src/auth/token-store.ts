import { hash, randomBytes } from 'node:crypto'
import { Type } from 'typebox'
import { type Database, rows } from '../db/database.ts'

const adminName = 'admin'
const Found = Type.Object({ name: Type.String() })

/** Tokens are random, so a plain hash protects them: there is nothing to guess. */
export const hashToken = (token: string): Buffer => hash('sha256', token, 'buffer')

/** Makes the admin token if there is none yet; null if there is. Only its hash is kept. */
export async function createAdminToken(db: Database): Promise<string | null> {
  const token = newToken()
  const made = await rows(db, Found)`
    insert into tokens (name, hash) values (${adminName}, ${hashToken(token)})
    on conflict (name) do nothing returning name`
  return made.length > 0 ? token : null
}

/** Replaces the admin token; the one before it is worth nothing from now on. */
export async function resetAdminToken(db: Database): Promise<string> {
  const token = newToken()
  await rows(db, Found)`
    insert into tokens (name, hash) values (${adminName}, ${hashToken(token)})
    on conflict (name) do update set hash = excluded.hash, created_at = clock_timestamp()
    returning name`
  return token
}

/** Whether a token of this hash exists. */
export async function tokenExists(db: Database, hash: Buffer): Promise<boolean> {
  return (await rows(db, Found)`select name from tokens where hash = ${hash}`).length > 0
}

const newToken = () => `melange_${randomBytes(32).toString('base64url')}`
