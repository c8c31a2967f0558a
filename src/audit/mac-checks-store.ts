import { type Sql, sql } from '../db/sql.ts'

// MAC addresses: each pool is recomputed from its range, from who has MACs and from what waits.

const taken = sql`
  select pool_id, mac from macs where pool_id is not null
  union all
  select pool_id, mac from mac_waiting`

const inPools = (table: Sql) => sql`coalesce((
  select range_agg(int8range(t.mac, t.mac, '[]')) from ${table} t where t.pool_id = p.id), '{}')`

/** A multirange, in words. */
const words = (macs: Sql) => sql`coalesce((
  select string_agg(mac_text(lower(m)) || '-' || mac_text(upper(m) - 1), ' ')
  from (select m from unnest(${macs}) m limit 5) few), 'nothing')`

export const macChecks: Readonly<Record<string, Sql>> = {
  'I13 free MACs': sql`
    select p.range_id || coalesce(' on ' || p.network_id, '') as subject,
      'lost: ' || ${words(sql`free - found`)} || '; free and more: ' || ${words(sql`found - free`)}
        as detail
    from mac_pools p join mac_ranges r on r.id = p.range_id, lateral (
      select int8multirange(int8range(r.first, r.last, '[]')) - r.forbidden_macs
          - ${inPools(sql`(${taken})`)} as free,
        coalesce((select range_agg(int8range(f.first, f.last, '[]'))
          from mac_free_ranges f where f.pool_id = p.id), '{}') as found
    ) s
    where free <> found
    union all
    select f.pool_id::text, mac_text(f.first) || ' to ' || mac_text(f.last) || ' meets the next run'
    from (
      select *, lead(first) over w as next, lead(free_since) over w as next_since
      from mac_free_ranges window w as (partition by pool_id order by last)
    ) f
    where next <= last or next = last + 1 and free_since is not distinct from next_since
    union all
    select f.pool_id::text, 'ages of ' || r.strategy || ' at ' || mac_text(f.first)
    from mac_free_ranges f join mac_pools p on p.id = f.pool_id join mac_ranges r on r.id = p.range_id
    where (r.strategy = 'least_recently_used') <> (f.free_since is not null)`,

  'I13 counts of MACs': sql`
    select p.id::text as subject,
      format('counts %s held and %s waiting, has %s and %s', p.held, p.waiting, t.held, t.waiting)
        as detail
    from mac_pools p, lateral (
      select (select count(*) from macs m where m.pool_id = p.id) as held,
        (select count(*) from mac_waiting w where w.pool_id = p.id) as waiting
    ) t
    where (p.held, p.waiting) <> (t.held, t.waiting)`,

  'I13 MAC outside its range': sql`
    select m.id::text as subject, mac_text(m.mac) || ' on ' || coalesce(m.network_id::text, 'no network')
        || ', of range ' || coalesce(r.id::text, 'none') as detail
    from macs m left join mac_pools p on p.id = m.pool_id left join mac_ranges r on r.id = m.range_id
    where m.pool_id is not null and (p.range_id is distinct from m.range_id
        or m.mac not between r.first and r.last
        or r.uniqueness = 'network' and p.network_id is distinct from m.network_id)
      or m.pool_id is null
        and exists (select from mac_ranges o where m.mac between o.first and o.last)`,

  'I13 MAC held by two at one time': sql`
    select mac_text(mac) as subject, 'from ' || started_at || ', but the holder before until '
      || coalesce(before::text, 'now') as detail
    from (
      select *, lag(coalesce(ended_at, 'infinity')) over w as before, lag(id) over w as earlier
      from (
        select id, mac, network_id, started_at, null::timestamptz as ended_at from macs
        union all
        select id, mac, network_id, started_at, ended_at from mac_history
      ) held
      window w as (partition by mac, network_id order by started_at, ended_at nulls last)
    ) sorted
    where earlier is not null and before > started_at
    union all
    select mac_text(m.mac), 'both held and released' from macs m join mac_history h on h.id = m.id`,

  'I9 MAC without its event': sql`
    select m.id::text as subject, 'no event ' || m.type as detail
    from (
      select id, started_at as at, 'mac.created' as type from macs
      union all
      select id, ended_at, 'mac.released' from mac_history
    ) m left join events e on e.object_id = m.id and e.type = m.type
    where e.seq is null and exists (select from event_horizon where removed_through = 0)
      and m.at > (select coalesce(min(at), 'infinity') from events)`,

  'I13 MAC waits for nobody': sql`
    select w.mac_id::text as subject, mac_text(w.mac) || ' until ' || w.reusable_at as detail
    from mac_waiting w left join mac_history h on h.id = w.mac_id
      left join mac_pools p on p.id = w.pool_id
      left join macs m on m.pool_id = w.pool_id and m.mac = w.mac
    where m.id is not null or (w.mac, w.project_id, w.owner_id, w.reusable_at, p.range_id)
      is distinct from (h.mac, h.project_id, h.owner_id, h.reusable_at, h.range_id)`,
}
