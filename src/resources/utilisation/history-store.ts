import { type Static, Type } from 'typebox'
import { type Database, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { Count, Nullable, Time } from '../../schema.ts'
import { forecastFull, windowDays } from './forecast.ts'
import type { Forecast, historySorts, UtilisationSample } from './schema.ts'
import { usedPercent, useOf } from './thresholds.ts'

const Version = Type.Union([Type.Literal(4), Type.Literal(6)])
type Version = Static<typeof Version>

const SampleRow = Type.Object({
  version: Version,
  at: Time,
  until: Nullable(Time),
  total: Count,
  allocated: Count,
  held: Count,
  quarantined: Count,
  excluded: Count,
  free: Count,
})

const columns = (until: Sql) => sql`
  version, at, ${until} as until, total, allocated, held, quarantined, excluded, free`

/** What has series of samples. */
export type Subject =
  | { readonly block_id: string }
  /** Older samples are of another network that had the id. */
  | { readonly network_id: string; readonly created_at: string }

const ofSubject = (subject: Subject): Sql[] =>
  'block_id' in subject
    ? [sql`subject_id = ${subject.block_id} and not is_network`]
    : [
        sql`subject_id = ${subject.network_id} and is_network`,
        sql`at >= ${subject.created_at}::timestamptz`,
      ]

export type HistoryPage = {
  readonly version?: Version | undefined
  readonly from?: string | undefined
  readonly to?: string | undefined
  readonly sort: (typeof historySorts)[number]
  readonly limit: number
  /** Time and version of the sample behind which the page begins. */
  readonly after: readonly string[] | null
}

/** The samples that were true some time in from..to; one more than a page holds. */
export async function listSamples(
  db: Database,
  subject: Subject,
  { version, from, to, sort, limit, after }: HistoryPage,
): Promise<UtilisationSample[]> {
  const conditions = ofSubject(subject)
  if (version) conditions.push(sql`version = ${version}`)
  if (to !== undefined) conditions.push(sql`at < ${to}`)
  const isForward = sort === 'oldest_first'
  if (after) {
    const place = sql`(${after[0]}::timestamptz, ${after[1]}::smallint)`
    conditions.push(isForward ? sql`(at, version) > ${place}` : sql`(at, version) < ${place}`)
  }
  const ended = [...conditions, ...(from === undefined ? [] : [sql`until > ${from}`])]
  const order = isForward ? sql`at, version` : sql`at desc, version desc`
  const page = sql`order by ${order} limit ${limit + 1}`
  const found = await rows(db, SampleRow)`
    (select ${columns(sql`until`)} from utilisation_samples where ${allOf(ended)} ${page})
    union all
    (select ${columns(sql`null`)} from utilisation_current where ${allOf(conditions)})
    ${page}`
  return found.map(row => ({ ...row, used_percent: usedPercent(asCounts(row)) }))
}

const asCounts = ({ total, excluded, free }: Static<typeof SampleRow>) => ({
  total: BigInt(total),
  excluded: BigInt(excluded),
  free: BigInt(free),
})

/** Of what a forecast is made at most: 30 days, if something changes every minute. */
const samplesMax = 50_000

/** What is to be expected of one series, by its newest samples. */
export async function getForecast(
  db: Database,
  subject: Subject,
  version: Version,
): Promise<Forecast> {
  const [clock] = await rows(db, Type.Object({ now: Time, from: Time }))`
    select now, now - make_interval(days => ${windowDays}) as from
    from (select wall_time()) clock (now)`
  if (!clock) throw new Error('the database told no time')
  const page = { version, from: clock.from, limit: samplesMax, after: null }
  const found = await listSamples(db, subject, { ...page, sort: 'newest_first' })
  const samples = found
    .toReversed()
    .map(row => ({ at: Date.parse(row.at), ...useOf(asCounts(row)) }))
  const { since, ...forecast } = forecastFull(samples, Date.parse(clock.now))
  return {
    version,
    ...forecast,
    used_percent: found[0]?.used_percent ?? null,
    since: since === null ? null : new Date(since).toISOString().replace('Z', '000Z'),
  }
}

/** The IP versions of which a network has a series. */
export async function versionsOf(db: Database, network: Subject): Promise<Version[]> {
  const found = await rows(db, Type.Object({ version: Version }))`
    select version from utilisation_current
    where ${allOf(ofSubject(network))} order by version`
  return found.map(({ version }) => version)
}
