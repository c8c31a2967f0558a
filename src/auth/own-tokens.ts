import { timingSafeEqual } from 'node:crypto'
import type { Database } from '../db/database.ts'
import type { Authority, Verdict } from './authority.ts'
import {
  admin,
  findToken,
  hashToken,
  isOwnToken,
  type KnownToken,
  noteUses,
} from './token-store.ts'

export type OwnTokenOptions = {
  readonly db: Database
  /** A token that is configured; only its hash is held. */
  readonly admin_token: string | undefined
  /** How long an answer about a token is remembered. */
  readonly cache_seconds: number
  /** Of how many tokens in force, and of how many others. */
  readonly cache_max: number
  readonly onError: (error: unknown) => void
}

/** The authority for tokens of our own. */
export type OwnTokens = Authority & {
  /** Forgets what it knows: to be called when a token was revoked. */
  forget(): void
  /** Writes down what it has noted of uses, and notes no more. */
  close(): Promise<void>
}

const noteMilliseconds = 60_000
const notedMax = 10_000

type Known = { readonly token: Promise<KnownToken | null>; until: number }

/**
 * Whether a stored token is in force is asked of the database once in `cache_seconds`; what is
 * remembered is bounded, and never the token itself. When tokens were used is written at most once
 * a minute, for all of them together and beside the requests.
 */
export function createOwnTokens(options: OwnTokenOptions): OwnTokens {
  const { db, admin_token, cache_seconds, cache_max, onError } = options
  const configured = admin_token === undefined ? null : hashToken(admin_token)
  const known = new Map<string, Known>()
  // Apart, so that whoever sends tokens that there are not makes us forget none that there are.
  const unknown = new Map<string, number>()
  const uses = new Map<string, Date>()
  let writing: Promise<void> = Promise.resolve()
  const timer = setInterval(write, noteMilliseconds).unref()

  function write(): void {
    if (uses.size === 0) return
    const noted = new Map(uses)
    uses.clear()
    writing = noteUses(db, noted).catch(onError)
  }

  async function look(hash: Buffer): Promise<KnownToken | null> {
    const key = hash.toString('base64')
    const now = Date.now()
    const found = known.get(key)
    if (found && found.until > now) return found.token
    if ((unknown.get(key) ?? 0) > now) return null
    const until = now + cache_seconds * 1000
    const entry = { token: findToken(db, hash), until }
    if (known.size >= cache_max) known.clear()
    known.set(key, entry)
    try {
      const token = await entry.token
      // It may have been forgotten meanwhile, and then this is no news.
      if (known.get(key) !== entry) return token
      if (token === null) {
        known.delete(key)
        if (unknown.size >= cache_max) unknown.clear()
        unknown.set(key, until)
      } else if (token.seconds_left !== null) {
        entry.until = Math.min(until, now + token.seconds_left * 1000)
      }
      return token
    } catch (error) {
      // A database that is away says nothing about a token.
      if (known.get(key) === entry) known.delete(key)
      throw error
    }
  }

  async function judge(hash: Buffer): Promise<Verdict> {
    const token = await look(hash)
    if (token === null) return { kind: 'invalid', reason: 'The token is not valid.' }
    if (uses.size < notedMax || uses.has(token.id)) uses.set(token.id, new Date())
    return { kind: 'valid', caller: token.caller }
  }

  return {
    validate({ token }) {
      const isOwn = isOwnToken(token)
      if (!isOwn && !configured) return undefined
      const hash = hashToken(token)
      if (configured && timingSafeEqual(hash, configured)) {
        return Promise.resolve({ kind: 'valid', caller: admin })
      }
      return isOwn ? judge(hash) : undefined
    },
    // A configured token is as strong as somebody chose it: who guesses it is not to be told.
    remembers(token) {
      const found = isOwnToken(token) && known.get(hashToken(token).toString('base64'))
      return found ? found.until > Date.now() : false
    },
    forget() {
      known.clear()
      unknown.clear()
    },
    async close() {
      clearInterval(timer)
      await writing
      write()
      await writing
    },
  }
}
