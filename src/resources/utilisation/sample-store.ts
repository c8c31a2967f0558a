import { type Static, Type } from 'typebox'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { sql } from '../../db/sql.ts'
import { Count, Id, Nullable, Time } from '../../schema.ts'
import { appendEvents, type NewEvent } from '../events/store.ts'
import { type Crossing, crossThresholds, usedPercent } from './thresholds.ts'

// Everything here is done by one transaction at a time, whichever node it is of: they take turns
// by an advisory lock. They lock nothing that whoever allocates or releases would wait for.

const lock = 7809644627822473831n
/** To compile these statements takes many times as long as to run them. */
const withoutJit = sql`set_config('jit', 'off', true)`

const Turn = Type.Object({ is_mine: Type.Boolean(), seconds_left: Nullable(Type.Number()) })

/** How many changed blocks are noted at once. */
export const notedMax = 100_000

/**
 * Begins a run, unless another node is at it or the last one began less than `seconds` ago. Tells
 * how many blocks it has found to look at (null: none of its business), and when to come again.
 */
export function beginRun(
  db: Database,
  seconds: number,
): Promise<{ noted: number | null; seconds_left: number }> {
  return retryTransaction(db, async tx => {
    const [turn] = await rows(tx, Turn)`
      select pg_try_advisory_xact_lock(${lock}) and ${withoutJit} is not null as is_mine, (
        select extract(epoch from started_at + make_interval(secs => ${seconds}) - wall_time())::float8
        from utilisation_runs where started_at <= wall_time()) as seconds_left`
    const seconds_left = turn?.seconds_left ?? 0
    if (!turn?.is_mine) return { noted: null, seconds_left: seconds }
    if (seconds_left > 0) return { noted: null, seconds_left }
    await tx.query(sql`
      insert into utilisation_runs (started_at) values (wall_time())
      on conflict (is_only) do update set started_at = excluded.started_at`)
    return { noted: await noteChanged(tx), seconds_left: seconds }
  })
}

async function takeTurn(tx: Database): Promise<void> {
  await tx.query(sql`select pg_advisory_xact_lock(${lock}), ${withoutJit}`)
}

/** Notes more of what has changed; tells how many blocks it found. */
export function noteMore(db: Database): Promise<number> {
  return retryTransaction(db, async tx => {
    await takeTurn(tx)
    return noteChanged(tx)
  })
}

const Noted = Type.Object({ noted: Type.Integer() })

/**
 * One pass over two narrow tables; all the rest goes by what it finds. An index of what changed
 * last would cost every allocation. Whoever changes counts, rules or place of a block locks it, and
 * that sets `changed_at`; it is compared and not ordered, so no commit is too late to be seen.
 */
async function noteChanged(tx: Database): Promise<number> {
  const [row] = await rows(tx, Noted)`
    with gone_networks as (
      delete from utilisation_current s
      where s.is_network and not exists (
        select from networks n
        where n.id = s.subject_id and n.created_at = s.network_created_at)
    ), gone as (
      delete from utilisation_current s
      where not s.is_network
        and not exists (select from block_usage u where u.block_id = s.subject_id)
      returning s.network_id
    ), changed as (
      select b.id, masklen(b.cidr) as level
      from (
        select u.block_id from block_usage u
          left join utilisation_current s on s.subject_id = u.block_id and not s.is_network
        where s.block_changed_at is distinct from u.changed_at limit ${notedMax}
      ) c join blocks b on b.id = c.block_id
    ), noted as (
      insert into utilisation_due (level, subject_id)
      select level, id from changed
      union all
      select distinct -1, network_id from gone where network_id is not null
      on conflict do nothing
    )
    select count(*) as noted from changed`
  return row?.noted ?? 0
}

const Due = Type.Object({ level: Type.Integer(), subject_id: Id })
/** Networks come last: below all prefix lengths. */
const networkLevel = -1
const Looked = Type.Object({
  subject_id: Id,
  version: Type.Integer(),
  is_network: Type.Boolean(),
  name: Type.String(),
  cidr: Nullable(Type.String()),
  project_id: Nullable(Type.String()),
  total: Count,
  allocated: Count,
  held: Count,
  quarantined: Count,
  excluded: Count,
  free: Count,
  is_changed: Type.Boolean(),
  thresholds: Type.Array(Type.Integer()),
  reached: Type.Array(Type.Integer()),
  block_changed_at: Nullable(Time),
  parent_id: Nullable(Id),
  network_id: Nullable(Id),
  network_id_before: Nullable(Id),
  network_created_at: Nullable(Time),
})
type Looked = Static<typeof Looked>

/** At most so many blocks or networks are looked at in one transaction. */
const lookedMax = 200

/**
 * Looks at some of what is due: writes samples of what has changed, and tells which thresholds were
 * crossed. Returns how much it looked at; 0 when all is done.
 */
export function sampleDue(db: Database): Promise<number> {
  return retryTransaction(db, async tx => {
    await takeTurn(tx)
    const due = await rows(tx, Due)`
      select level, subject_id from utilisation_due
      where level = (select max(level) from utilisation_due)
      order by subject_id limit ${lookedMax}`
    const ids = due.map(({ subject_id }) => subject_id)
    if (!due[0]) return 0
    const { level } = due[0]
    const lookAt = level === networkLevel ? lookAtNetworks : lookAtBlocks
    const looked = await lookAt(tx, ids)
    const crossings = looked.map(one => ({ one, crossing: crossingOf(one) }))
    await writeSamples(tx, crossings)
    await settleDue(tx, { level, ids, looked })
    const events = crossings.flatMap(eventsOf)
    if (events.length > 0) await appendEvents(tx, events)
    return due.length
  })
}

/**
 * A block's own counts and those of its children. What is below a child that has children itself is
 * taken from its newest sample, unless its extent has changed since, or it has none: then from all
 * blocks in it. So the counts always add up to the total, whoever cuts blocks meanwhile.
 */
function lookAtBlocks(tx: Database, ids: readonly string[]): Promise<Looked[]> {
  return rows(tx, Looked)`
    select b.id as subject_id, family(b.cidr) as version, false as is_network, b.name, b.cidr,
      b.project_id, b.parent_id, b.network_id, s.network_id as network_id_before, c.*,
      (s.total, s.allocated, s.held, s.quarantined, s.excluded, s.free) is distinct from
        (c.total, c.allocated, c.held, c.quarantined, c.excluded, c.free) as is_changed,
      b.utilisation_thresholds as thresholds, coalesce(s.reached, '{}') as reached,
      u.changed_at as block_changed_at, null as network_created_at
    from blocks b
      join block_usage u on u.block_id = b.id
      left join utilisation_current s on s.subject_id = b.id and not s.is_network
      cross join lateral (
        select u.total, u.allocated + coalesce(sum(p.allocated), 0) as allocated,
          u.held + coalesce(sum(p.held), 0) as held,
          u.quarantined + coalesce(sum(p.quarantined), 0) as quarantined,
          u.excluded + coalesce(sum(p.excluded), 0) as excluded,
          u.free + coalesce(sum(p.free), 0) as free
        from (
          select coalesce(deep.allocated, cs.allocated, cu.allocated) as allocated,
            coalesce(deep.held, cs.held, cu.held) as held,
            coalesce(deep.quarantined, cs.quarantined, cu.quarantined) as quarantined,
            coalesce(deep.excluded, cs.excluded, cu.excluded) as excluded,
            coalesce(deep.free, cs.free, cu.free) as free
          from blocks child join block_usage cu on cu.block_id = child.id
            left join utilisation_current cs on cu.in_children > 0
              and cs.subject_id = child.id and not cs.is_network and cs.total = cu.total
            cross join lateral (
              select sum(du.allocated) as allocated, sum(du.held) as held,
                sum(du.quarantined) as quarantined, sum(du.excluded) as excluded,
                sum(du.free) as free
              from blocks d join block_usage du on du.block_id = d.id
              where cu.in_children > 0 and cs.subject_id is null
                and d.scope_id = child.scope_id and d.cidr <<= child.cidr::inet) deep
          where child.parent_id = b.id) p) c
    where b.id = any (${ids}::uuid[]) order by b.id`
}

/** The leaves of a network, of each IP version that it has or had. */
function lookAtNetworks(tx: Database, ids: readonly string[]): Promise<Looked[]> {
  return rows(tx, Looked)`
    select n.id as subject_id, v.version, true as is_network, n.name, null as cidr, n.project_id,
      null as parent_id, null as network_id, null as network_id_before,
      c.total, c.allocated, c.held, c.quarantined, c.excluded, c.free,
      (s.total, s.allocated, s.held, s.quarantined, s.excluded, s.free) is distinct from
        (c.total, c.allocated, c.held, c.quarantined, c.excluded, c.free) as is_changed,
      array(select jsonb_array_elements_text(p.rules -> 'utilisation_thresholds')::smallint)
        as thresholds, coalesce(s.reached, '{}') as reached, null as block_changed_at,
      n.created_at as network_created_at
    from networks n
      cross join (values (4), (6)) v (version)
      left join policies p on p.id = n.policy_id
      left join utilisation_current s on s.subject_id = n.id and s.is_network
        and s.version = v.version and s.network_created_at = n.created_at
      cross join lateral (
        select count(*) as subnets, coalesce(sum(u.total), 0) as total,
          coalesce(sum(u.allocated), 0) as allocated, coalesce(sum(u.held), 0) as held,
          coalesce(sum(u.quarantined), 0) as quarantined,
          coalesce(sum(u.excluded), 0) as excluded, coalesce(sum(u.free), 0) as free
        from blocks b join block_usage u on u.block_id = b.id
        where b.network_id = n.id and family(b.cidr) = v.version and u.in_children = 0) c
    where n.id = any (${ids}::uuid[]) and (c.subnets > 0 or s.subject_id is not null)
    order by n.id, v.version`
}

type Crossed = { readonly one: Looked; readonly crossing: Crossing }

const asCounts = ({ total, excluded, free }: Looked) => ({
  total: BigInt(total),
  excluded: BigInt(excluded),
  free: BigInt(free),
})
const crossingOf = (one: Looked) => crossThresholds(asCounts(one), one)

/** The newest sample makes room for one that differs; what else is remembered is so in any case. */
async function writeSamples(tx: Database, crossed: readonly Crossed[]): Promise<void> {
  const looked = crossed.map(({ one, crossing: { reached } }) => ({ ...one, reached }))
  await tx.query(sql`
    with clock as materialized (select wall_time() as now), looked as (
      select l.* from jsonb_to_recordset(${JSON.stringify(looked)}::jsonb) as l (
        subject_id uuid, version smallint, is_network boolean, total numeric, allocated numeric,
        held numeric, quarantined numeric, excluded numeric, free numeric, is_changed boolean,
        reached smallint[], block_changed_at timestamptz, network_id uuid,
        network_created_at timestamptz)
    ), ended as (
      insert into utilisation_samples
        (subject_id, is_network, version, at, until, total, allocated, held, quarantined, excluded,
          free)
      select s.subject_id, s.is_network, s.version, s.at,
        greatest(c.now, s.at + interval '1 microsecond'),
        s.total, s.allocated, s.held, s.quarantined, s.excluded, s.free
      from clock c, looked l join utilisation_current s using (subject_id, is_network, version)
      where l.is_changed
    )
    insert into utilisation_current as s (subject_id, is_network, version, at, total, allocated,
      held, quarantined, excluded, free, reached, block_changed_at, network_id,
      network_created_at)
    select subject_id, is_network, version, case
        when s.at is null then c.now
        when l.is_changed then greatest(c.now, s.at + interval '1 microsecond')
        else s.at end,
      l.total, l.allocated, l.held, l.quarantined, l.excluded, l.free, l.reached,
      l.block_changed_at, l.network_id, l.network_created_at
    from clock c, looked l
      left join utilisation_current s using (subject_id, is_network, version)
    on conflict (subject_id, is_network, version) do update
    set at = excluded.at, total = excluded.total, allocated = excluded.allocated,
      held = excluded.held, quarantined = excluded.quarantined, excluded = excluded.excluded,
      free = excluded.free, reached = excluded.reached,
      block_changed_at = excluded.block_changed_at, network_id = excluded.network_id,
      network_created_at = excluded.network_created_at`)
}

/** What was looked at is no longer due; what it is summed up in becomes so. */
async function settleDue(
  tx: Database,
  done: {
    readonly level: number
    readonly ids: readonly string[]
    readonly looked: readonly Looked[]
  },
): Promise<void> {
  const { level, ids, looked } = done
  const parents = looked.flatMap(({ is_changed, parent_id }) => (is_changed ? [parent_id] : []))
  const networks = looked.flatMap(one => [one.network_id, one.network_id_before])
  await tx.query(sql`
    delete from utilisation_due where level = ${level} and subject_id = any (${ids}::uuid[])`)
  await tx.query(sql`
    insert into utilisation_due (level, subject_id)
    select masklen(b.cidr), b.id from blocks b where b.id = any (${parents}::uuid[])
    union
    select ${networkLevel}, n.id from networks n where n.id = any (${networks}::uuid[])
    on conflict do nothing`)
}

/** Each crossing is told once: `reached` is written in the same transaction. */
function eventsOf({ one, crossing: { entered, left } }: Crossed): NewEvent[] {
  const { subject_id, is_network, name, cidr, version, project_id } = one
  const { total, allocated, held, quarantined, excluded, free } = one
  const kind = is_network ? 'network' : 'block'
  const told = (change: 'reached' | 'left') => (threshold: number) => ({
    type: `${kind}.threshold_${change}` as const,
    object_id: subject_id,
    project_id,
    data: {
      ...(is_network ? { network_id: subject_id, name } : { block_id: subject_id, name, cidr }),
      version,
      threshold,
      used_percent: usedPercent(asCounts(one)),
      ...{ total, allocated, held, quarantined, excluded, free },
    },
  })
  return [...left.map(told('left')), ...entered.map(told('reached'))]
}

/** Removes at most `limit` samples that ended more than `days` ago; tells how many. */
export async function removeOldSamples(
  db: Database,
  { days, limit }: { days: number; limit: number },
): Promise<number> {
  const [row] = await rows(db, Type.Object({ removed: Type.Integer() }))`
    with removed as (
      delete from utilisation_samples where ctid = any (array(
        select ctid from utilisation_samples
        where until < wall_time() - make_interval(days => ${days}) order by until limit ${limit}))
      returning 1
    )
    select count(*) as removed from removed`
  return row?.removed ?? 0
}
