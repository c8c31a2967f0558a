import pg from 'pg'
import {
  type Database,
  isoTime,
  type OpenDatabase,
  parseInt8,
  refuseNested,
  settingOf,
  translateError,
} from './database.ts'

const types = new pg.TypeOverrides()
types.setTypeParser(pg.types.builtins.INT8, parseInt8)
types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, isoTime)

/** How a connection to PostgreSQL is made. */
export type PostgresOptions = {
  readonly url: string
  readonly connections_max: number
  readonly connect_timeout_seconds: number
  readonly statement_timeout_seconds: number
  /** Told of connections that broke while nobody used them. */
  readonly onError: (error: Error) => void
}

/** A pool of connections to a PostgreSQL server, 15 or newer. */
export function postgresDatabase(options: PostgresOptions): OpenDatabase {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.connections_max,
    connectionTimeoutMillis: options.connect_timeout_seconds * 1000,
    keepAlive: true,
    application_name: 'melange',
    options: [
      '-c TimeZone=UTC',
      '-c default_transaction_isolation=read\\ committed',
      `-c statement_timeout=${options.statement_timeout_seconds}s`,
      // A process that hangs between two statements may hold the lock that orders events.
      '-c idle_in_transaction_session_timeout=10s',
    ].join(' '),
    types,
  })
  pool.on('error', options.onError)

  const on = (client: pg.Pool | pg.PoolClient): Omit<Database, 'transaction'> => ({
    async query(statement) {
      try {
        const { text, name, values } = statement
        return (await client.query({ text, values: [...values], ...(name && { name }) })).rows
      } catch (error) {
        throw translateError(error)
      }
    },
    async execute(script) {
      await client.query(script)
    },
  })
  const transaction: Database['transaction'] = async (work, doneBy) => {
    const connection = await pool.connect().catch(error => {
      throw translateError(error)
    })
    let broken = false
    // A connection that dies between two statements must not end the process.
    const onLost = () => {
      broken = true
    }
    connection.on('error', onLost)
    try {
      // One message, so that it takes no longer to say by whom.
      const noted = doneBy ? `; set local melange.done_by = '${settingOf(doneBy)}'` : ''
      await connection.query(`begin${noted}`)
      const result = await work({ ...on(connection), transaction: refuseNested })
      await connection.query('commit')
      return result
    } catch (error) {
      await connection.query('rollback').catch(onLost)
      throw translateError(error)
    } finally {
      connection.off('error', onLost)
      connection.release(broken)
    }
  }
  return {
    ...on(pool),
    transaction,
    kind: 'postgres',
    connections: options.connections_max,
    connectionUse: () => ({
      idle: pool.idleCount,
      busy: pool.totalCount - pool.idleCount,
      waiting: pool.waitingCount,
    }),
    close: () => pool.end(),
  }
}
