import type { Static, TSchema } from 'typebox'
import { Compile, type Validator } from 'typebox/compile'
import { errorCatalogue, IpamError, isErrorCode } from '../errors.ts'
import { type Sql, sql } from './sql.ts'

/** What the two drivers share. Inside `transaction` only `tx` may be used. */
export interface Database {
  query(statement: Sql): Promise<unknown[]>
  /** Runs a script of several statements. */
  execute(script: string): Promise<void>
  /**
   * All of `work` or none of it; the isolation level is READ COMMITTED. What it changes is noted as
   * done by somebody: as the function `done_by` of the database reads it.
   */
  transaction<T>(work: (tx: Database) => Promise<T>, doneBy?: DoneBy | null): Promise<T>
}

/** In whose name something is changed, as the tables `events` and `callers` have it. */
export type DoneBy = {
  readonly caller_id: number
  /** UUIDs of the request, and of that of which it is a part, if there is one. */
  readonly request_id: string
  readonly global_request_id: string | null
}

/** The value of the setting `melange.done_by`: it holds nothing that would have to be quoted. */
export function settingOf({ caller_id, request_id, global_request_id }: DoneBy): string {
  const text = `${caller_id} ${request_id} ${global_request_id ?? ''}`
  if (!/^\d+ [\da-f-]{36} ([\da-f-]{36})?$/.test(text)) throw new Error(`not done by: ${text}`)
  return text
}

/** A database of whose transactions each is noted as done by somebody. */
export function inNameOf(db: Database, doneBy: DoneBy | null): Database {
  if (!doneBy) return db
  const { query, execute, transaction } = db
  return { query, execute, transaction: work => transaction(work, doneBy) }
}

/** An open database, of which the owner closes the connections. */
export interface OpenDatabase extends Database {
  readonly kind: 'postgres' | 'pglite'
  /** How many transactions can run at once. */
  readonly connections: number
  /** How the connections are used right now. */
  connectionUse(): ConnectionUse
  close(): Promise<void>
}

/** Connections by state, and how many queries and transactions wait for one. */
export type ConnectionUse = {
  readonly idle: number
  readonly busy: number
  readonly waiting: number
}

/** Runs the SQL that follows; its rows are checked against the schema that types them. */
export function rows<S extends TSchema>(db: Database, schema: S) {
  return async (strings: TemplateStringsArray, ...values: unknown[]): Promise<Static<S>[]> => {
    const found = await db.query(sql(strings, ...values))
    const validator = validatorFor(schema)
    const odd = found.find(row => !validator.Check(row))
    if (odd) throw new TypeError(`row does not match its schema: ${JSON.stringify(odd)}`)
    return found as Static<S>[]
  }
}

const validators = new WeakMap<TSchema, Validator>()

function validatorFor(schema: TSchema): Validator {
  const known = validators.get(schema) ?? Compile(schema)
  validators.set(schema, known)
  return known
}

/** PostgreSQL's codes of "gone, full, or too slow", and Node's of the same. */
const unreachable =
  /^(08...|57P0[123]|57014|53300|ECONNREFUSED|ECONNRESET|EPIPE|ENOTFOUND|ETIMEDOUT|ENOENT)$/

/**
 * What only the database sees in a well-formed request: a NUL in a text, a time that no calendar has.
 */
const unreadable = /^(22P05|22007|22008|22021)$/

/** Constraints and raised errors carry the error code as their constraint name. */
export function translateError(cause: unknown): unknown {
  if (!(cause instanceof Error) || cause instanceof IpamError) return cause
  const { constraint, code } = cause as { constraint?: unknown; code?: unknown }
  if (isErrorCode(constraint)) {
    return new IpamError(constraint, errorCatalogue[constraint].title, { cause })
  }
  if (unreadable.test(String(code))) {
    const detail = 'A text of the request cannot be stored, or a value is not of its type.'
    return new IpamError('invalid_request', detail, { field: 'body', cause })
  }
  const gone =
    unreachable.test(String(code)) ||
    /^(Connection terminated|timeout exceeded)/.test(cause.message)
  if (gone) return new IpamError('database_unavailable', undefined, { cause })
  return cause
}

/** PostgreSQL gave this transaction up in favour of another; to run it again is safe. */
export function isRetryable(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code
  return code === '40P01' || code === '40001'
}

/** What work throws that has found the world changed behind its back, and is to be done again. */
export function lostRace(message: string): Error {
  return Object.assign(new Error(message), { code: '40001' })
}

const attemptsMax = 5

/** Work of one transaction that is done again, a bounded number of times, when it lost to another. */
export async function retryLost<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      if (attempt === attemptsMax || !isRetryable(error)) throw error
    }
  }
}

/**
 * A transaction that is run again when it lost to another one. In a transaction that is open it
 * is a part of that, which then is run again as a whole by whoever opened it.
 */
export function retryTransaction<T>(db: Database, work: (tx: Database) => Promise<T>): Promise<T> {
  const isOpen = db.transaction === refuseNested
  return isOpen ? work(db) : retryLost(() => db.transaction(work))
}

/** Does work as it would be done now, gives its answer, and undoes it. */
export async function tryOut<T>(db: Database, work: (tx: Database) => Promise<T>): Promise<T> {
  let answer: { readonly value: T } | undefined
  const undo = new Error('tried out, to be undone')
  try {
    await retryTransaction(db, async tx => {
      answer = { value: await work(tx) }
      throw undo
    })
  } catch (error) {
    if (error !== undo) throw error
  }
  if (!answer) throw new Error('what was tried out did not end')
  return answer.value
}

/**
 * A time as PostgreSQL writes it (`2026-11-23 04:28:07.22456+00`) in RFC 3339, with all of its
 * microseconds: a JavaScript Date would lose three digits, and with them who came first.
 */
export function isoTime(text: string): string {
  const [, date, time, fraction = ''] = /^(\S+) (\d\d:\d\d:\d\d)(?:\.(\d+))?\+00$/.exec(text) ?? []
  if (!date) return text // infinity
  return `${date}T${time}.${fraction.padEnd(6, '0')}Z`
}

/** Both drivers give `int8` as a number where it is safe, else as a bigint. */
export function parseInt8(text: string): number | bigint {
  const value = Number(text)
  return Number.isSafeInteger(value) ? value : BigInt(text)
}

/**
 * The `transaction` of every transaction: a second one would wait for the first, which waits for it.
 */
export function refuseNested(): never {
  throw new Error('a transaction is already open')
}
