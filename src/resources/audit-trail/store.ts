import { type Static, Type } from 'typebox'
import { isAction, readEventType } from '../../audit-trail/actions.ts'
import { userKeyOf } from '../../audit-trail/asker.ts'
import { type Database, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { isId, Nullable, Time } from '../../schema.ts'
import { eventTypes } from '../events/store.ts'

const Text = Nullable(Type.String())

/** Something that was done, or refused, and who asked for it. */
const TrailRow = Type.Object({
  seq: Type.Integer(),
  at: Time,
  count: Type.Integer(),
  /** Null of a refusal. */
  event: Text,
  rule: Text,
  status: Nullable(Type.Integer()),
  action: Text,
  object_type: Text,
  object_id: Text,
  target_project_id: Text,
  request_id: Text,
  global_request_id: Text,
  /** 0 if it is not known. */
  caller_id: Nullable(Type.Integer()),
  address: Text,
  agent: Text,
  operation: Text,
  authority: Text,
  user_id: Text,
  user_name: Text,
  user_domain_id: Text,
  project_id: Text,
  domain_id: Text,
  system_scope: Text,
  roles: Nullable(Type.Array(Type.String())),
  service_user_id: Text,
  service_project_id: Text,
})
export type TrailRow = Static<typeof TrailRow>

const ofCaller = sql`
  c.authority, c.user_id, c.user_name, c.user_domain_id, c.project_id, c.domain_id,
  c.system_scope, c.roles, c.service_user_id, c.service_project_id`

export type TrailFilter = {
  readonly project_id?: string | undefined
  readonly user_id?: string | undefined
  /** UUIDs. */
  readonly request_id?: string | undefined
  readonly global_request_id?: string | undefined
  readonly object_id?: string | undefined
  readonly object_type?: string | undefined
  readonly action?: string | undefined
  readonly outcome?: 'success' | 'failure' | undefined
  readonly since?: string | undefined
  readonly until?: string | undefined
  /** Only what was done in the name of this project, beside other conditions. */
  readonly by_project_id?: string | null | undefined
}

/** Where a page begins, and how long it is. */
export type TrailPage = {
  readonly limit: number
  /** What is told has lower numbers than this. */
  readonly before: number | null
}

/** How many rows of either table are looked at for one page. */
const lookedAtMax = 10_000
/** Seconds by which clocks may differ, and refusals come late. */
const slack = 60

type Source = {
  readonly table: Sql
  readonly name: 'events' | 'refusals'
  readonly columns: Sql
  /** The column that names the thing, as text. */
  readonly matches: Sql[]
}

/**
 * What was done and refused, newest first, and the number before which the next page begins. It costs the same
 * however long the trail is: one condition is that of an index, and of what it finds no more is looked at for the
 * others than `lookedAtMax`. So a page may hold less than its limit, or nothing, and not be the last.
 */
export async function listTrail(
  db: Database,
  filter: TrailFilter,
  { limit, before }: TrailPage,
): Promise<{ found: TrailRow[]; next: number | null }> {
  const sources = sourcesOf(filter)
  const scans = await Promise.all(
    sources.map(source => scan(db, source, filter, { limit, before })),
  )
  // Below this one of the tables has not been looked at.
  const reached = Math.max(0, ...scans.map(({ reached }) => reached))
  const all = scans
    .flatMap(({ found }) => found)
    .filter(({ seq }) => seq >= reached)
    .toSorted((a, b) => b.seq - a.seq)
  const found = all.slice(0, limit)
  const next = all.length > limit ? (found.at(-1)?.seq ?? null) : reached || null
  return { found, next }
}

function sourcesOf(filter: TrailFilter): Source[] {
  const { outcome, object_id } = filter
  const isNoThing = object_id !== undefined && !isId(object_id)
  return [
    ...(outcome === 'failure' || isNoThing ? [] : eventsFor(filter)),
    ...(outcome === 'success' ? [] : [refusalsFor(filter)]),
  ]
}

function eventsFor({ object_type, action }: TrailFilter): Source[] {
  const types = eventTypes.filter(type => {
    const read = readEventType(type)
    if (object_type !== undefined && read.object_type !== object_type) return false
    return action === undefined || isAction(read.action, action)
  })
  if (types.length === 0) return []
  const isAll = types.length === eventTypes.length
  return [
    {
      name: 'events',
      table: sql`events`,
      columns: sql`
        t.seq, t.at, 1 as count, t.type as event, null as rule, null::int as status,
        null as action, null as object_type, t.object_id::text as object_id,
        t.project_id as target_project_id, t.request_id, t.global_request_id, t.caller_id,
        c.address, c.agent, c.operation, ${ofCaller}`,
      matches: isAll ? [] : [sql`t.type = any (${types})`],
    },
  ]
}

function refusalsFor({ object_type, action }: TrailFilter): Source {
  return {
    name: 'refusals',
    table: sql`refusals`,
    columns: sql`
      t.seq, t.at, t.count, null as event, t.rule, t.status, t.action, t.object_type,
      t.object_id, t.project_id as target_project_id, t.request_id, t.global_request_id,
      t.caller_id, coalesce(c.address, t.address) as address, coalesce(c.agent, t.agent) as agent,
      t.operation, ${ofCaller}`,
    matches: [
      ...(object_type === undefined ? [] : [sql`t.object_type = ${object_type}`]),
      ...(action === undefined
        ? []
        : [sql`(t.action = ${action} or starts_with(t.action, ${`${action}/`}))`]),
    ],
  }
}

const Reached = Type.Object({ seq: Nullable(Type.Integer()), count: Type.Integer() })

async function scan(
  db: Database,
  source: Source,
  filter: TrailFilter,
  { limit, before }: TrailPage,
): Promise<{ found: TrailRow[]; reached: number }> {
  const { since, until, user_id, project_id, by_project_id } = filter
  const { name, table, columns, matches } = source
  const span = [
    ...(before === null ? [] : [sql`seq < ${before}`]),
    ...(since === undefined
      ? []
      : [sql`seq >= first_seq_since(${name}::regclass, ${since}::timestamptz - ${seconds})`]),
    ...(until === undefined
      ? []
      : [sql`seq < first_seq_since(${name}::regclass, ${until}::timestamptz + ${seconds})`]),
  ]
  const { condition, isApart } = indexed(filter, name)
  // What is told of requests is found by their ids alone, and put into order after that.
  const from = isApart ? sql`(select * from ${table} where ${condition} offset 0) s` : table
  const lookedAt = sql`
    select * from ${from} where ${allOf(isApart ? span : [condition, ...span])}
    order by seq desc limit ${lookedAtMax}`
  const conditions = [
    ...matches,
    ...exact(filter, name),
    ...(project_id === undefined ? [] : [sql`t.project_id = ${project_id}`]),
    ...(user_id === undefined ? [] : [sql`c.user_id = ${user_id}`]),
    ...(by_project_id === undefined ? [] : [sql`c.project_id = ${by_project_id}`]),
    ...(since === undefined ? [] : [sql`t.at >= ${since}`]),
    ...(until === undefined ? [] : [sql`t.at < ${until}`]),
  ]
  const found = await rows(db, TrailRow)`
    select ${columns} from (${lookedAt}) t left join callers c on c.id = t.caller_id
    where ${allOf(conditions)} order by t.seq desc limit ${limit + 1}`
  if (found.length > limit) return { found, reached: 0 }
  const [last] = await rows(db, Reached)`
    select min(seq) as seq, count(*) as count from (${lookedAt}) t`
  const isCut = last !== undefined && last.count === lookedAtMax
  return { found, reached: isCut ? (last.seq ?? 0) : 0 }
}

const seconds = sql`make_interval(secs => ${slack})`

/** The one condition by which rows are found; whether it is better not found in order. */
function indexed(filter: TrailFilter, name: Source['name']): { condition: Sql; isApart: boolean } {
  const { request_id, global_request_id, object_id, user_id, project_id } = filter
  const inOrder = (condition: Sql) => ({ condition, isApart: false })
  if (request_id) return { condition: sql`request_id = ${request_id}`, isApart: true }
  if (global_request_id) return inOrder(sql`global_request_id = ${global_request_id}`)
  if (object_id !== undefined) return inOrder(isObject(object_id, name))
  if (user_id !== undefined) {
    return inOrder(sql`caller_id > 0 and (caller_id >> 32) = ${userKeyOf(user_id)}`)
  }
  if (project_id !== undefined) return inOrder(sql`project_id = ${project_id}`)
  return inOrder(sql`true`)
}

const isObject = (object_id: string, name: Source['name']): Sql =>
  name === 'events' ? sql`object_id = ${object_id}::uuid` : sql`object_id = ${object_id}`

/** All of the conditions one of which may have been that of the index. */
function exact({ request_id, global_request_id, object_id }: TrailFilter, name: Source['name']) {
  return [
    ...(request_id ? [sql`t.request_id = ${request_id}`] : []),
    ...(global_request_id ? [sql`t.global_request_id = ${global_request_id}`] : []),
    ...(object_id === undefined ? [] : [sql`t.${isObject(object_id, name)}`]),
  ]
}
