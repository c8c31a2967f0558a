-- A MAC address in its canonical form: 52:54:00:12:34:56.
create or replace function mac_text(mac bigint) returns text
language sql immutable strict parallel safe as $$
  select regexp_replace(lpad(to_hex(mac), 12, '0'), '(..)(?!$)', '\1:', 'g')
$$;

-- Lays out the free space of pools anew, from what their range has and who holds it.
create or replace function fill_mac_pools(pools uuid[]) returns void language plpgsql as $$
begin
  delete from mac_free_ranges where pool_id = any (pools);
  insert into mac_free_ranges (pool_id, first, last, free_since)
  select p.id, lower(f), upper(f) - 1,
    case r.strategy when 'least_recently_used' then '-infinity'::timestamptz end
  from mac_pools p join mac_ranges r on r.id = p.range_id, unnest(
    int8multirange(int8range(r.first, r.last, '[]')) - r.forbidden_macs - coalesce((
      select range_agg(int8range(t.mac, t.mac, '[]'))
      from (
        select m.mac from macs m where m.pool_id = p.id
        union all
        select w.mac from mac_waiting w where w.pool_id = p.id
      ) t), '{}')) f
  where p.id = any (pools);
end $$;

-- Locks all pools of a range and lays them out anew: its rules have changed.
create or replace function refill_mac_range(changed uuid) returns void language plpgsql as $$
declare
  pools uuid[];
begin
  pools := array(select p.id from mac_pools p where p.range_id = changed order by p.id for update);
  perform fill_mac_pools(pools);
end $$;

-- Locks the pool from which a range gives MACs for a network, and stamps it with a time that no
-- earlier change of it bears. The first one on a network makes it.
create or replace function lock_mac_pool(range mac_ranges, network uuid) returns mac_pools
language plpgsql as $$
declare
  pool mac_pools;
  is_per_network boolean := range.uniqueness = 'network';
begin
  loop
    update mac_pools p
    set changed_at = greatest(wall_time(), p.changed_at + interval '1 microsecond')
    where p.id = case when is_per_network
      then (select o.id from mac_pools o where o.range_id = range.id and o.network_id = network)
      else range.id end
    returning * into pool;
    if pool.id is not null then
      return pool;
    end if;
    insert into mac_pools (id, range_id, network_id)
    values (case when is_per_network then gen_random_uuid() else range.id end, range.id,
      case when is_per_network then network end)
    on conflict do nothing returning * into pool;
    if pool.id is not null then
      perform fill_mac_pools(array[pool.id]);
    end if;
  end loop;
end $$;

-- The only ways in which free MACs change one by one. The caller has locked the pool.

create or replace function take_free_mac(run mac_free_ranges, mac bigint) returns void
language plpgsql as $$
begin
  if run.first = run.last then
    delete from mac_free_ranges f where f.pool_id = run.pool_id and f.last = run.last;
  elsif mac = run.last then
    update mac_free_ranges f set last = mac - 1 where f.pool_id = run.pool_id and f.last = run.last;
  else
    update mac_free_ranges f set first = mac + 1
    where f.pool_id = run.pool_id and f.last = run.last;
    if run.first < mac then
      insert into mac_free_ranges (pool_id, first, last, free_since)
      values (run.pool_id, run.first, mac - 1, run.free_since);
    end if;
  end if;
end $$;

create or replace function give_free_macs(
  pool uuid, low bigint, high bigint, since timestamptz) returns void
language plpgsql as $$
declare
  below mac_free_ranges;
  above mac_free_ranges;
begin
  select * into above from mac_free_ranges f
  where f.pool_id = pool and f.last >= low order by f.last limit 1;
  if above.first <= high then
    raise exception '% is free already.', mac_text(greatest(low, above.first));
  end if;
  if above.first <> high + 1 or above.free_since is distinct from since then
    above := null;
  end if;
  select * into below from mac_free_ranges f where f.pool_id = pool and f.last = low - 1;
  if below.free_since is distinct from since then
    below := null;
  end if;
  if above.first is not null then
    if below.first is not null then
      delete from mac_free_ranges f where f.pool_id = pool and f.last = below.last;
    end if;
    update mac_free_ranges f set first = coalesce(below.first, low)
    where f.pool_id = pool and f.last = above.last;
  elsif below.first is not null then
    update mac_free_ranges f set last = high where f.pool_id = pool and f.last = below.last;
  else
    insert into mac_free_ranges (pool_id, first, last, free_since) values (pool, low, high, since);
  end if;
end $$;

-- Gives back MACs that nobody has or waits for, since these times, unless they have been forbidden
-- meanwhile; neighbours go back as one run.
create or replace function give_macs(
  range mac_ranges, pool uuid, macs bigint[], times timestamptz[]) returns void
language plpgsql as $$
declare
  is_aged boolean := range.strategy = 'least_recently_used';
begin
  perform give_free_macs(pool, r.low, r.high, r.since)
  from (
    select min(n.mac) as low, max(n.mac) as high, n.since
    from (
      select m.mac, m.since, m.mac - row_number() over (partition by m.since order by m.mac) as run
      from (
        select g.mac, case when is_aged then g.since end as since
        from unnest(macs, times) g (mac, since) where not range.forbidden_macs @> g.mac
      ) m
    ) n
    group by n.since, n.run order by 1
  ) r;
end $$;

-- Gives back what has waited long enough, the longest first.
create or replace function reclaim_macs(range mac_ranges, pool mac_pools, at_most int)
returns void language plpgsql as $$
declare
  macs bigint[];
  times timestamptz[];
begin
  with over as (
    delete from mac_waiting w where w.mac_id in (
      select d.mac_id from mac_waiting d
      where d.pool_id = pool.id and d.reusable_at <= pool.changed_at
      order by d.reusable_at limit at_most)
    returning w.mac, w.reusable_at
  )
  select array_agg(o.mac), array_agg(o.reusable_at) into macs, times from over o;
  if macs is not null then
    perform give_macs(range, pool.id, macs, times);
    update mac_pools p set waiting = waiting - cardinality(macs) where p.id = pool.id;
  end if;
end $$;

-- Ranges neither appear nor go until the transaction ends: whether a MAC is of a range stays true.
create or replace function hold_mac_ranges() returns void language plpgsql as $$
begin
  lock table mac_ranges in row share mode;
end $$;

create or replace function lock_mac_ranges() returns void language plpgsql as $$
begin
  lock table mac_ranges in exclusive mode;
end $$;

-- The ranges for a project that names none: its own before those of all, older ones first.
create or replace function mac_ranges_for(project text) returns setof uuid
language sql stable as $$
  select r.id from mac_ranges r where r.project_id = project or r.project_id is null
  order by r.project_id nulls last, r.id limit 64
$$;

-- Whether a range seems to have a MAC left, without a lock.
create or replace function seems_free(range uuid, network uuid) returns boolean
language plpgsql stable as $$
declare
  pool uuid := (select p.id from mac_pools p join mac_ranges r on r.id = p.range_id
    where r.id = range and case r.uniqueness when 'range' then p.id = range
      else p.network_id = network end);
  as_of timestamptz := wall_time(); -- A volatile function would be no condition of an index.
begin
  return pool is null or exists (select from mac_free_ranges f where f.pool_id = pool)
    or exists (select from mac_waiting w where w.pool_id = pool and w.reusable_at <= as_of);
end $$;

-- For whoever takes and releases MACs of several places in one transaction: one at a time, so that
-- no two wait for each other's pools. All others hold one place at most: one pool, or one MAC of no
-- range. The ranges are held before: whoever creates one would come between.
create or replace function lock_many_macs() returns void language plpgsql as $$
begin
  perform hold_mac_ranges();
  perform pg_advisory_xact_lock(7809644627822473830); -- Any constant would do.
end $$;

-- A MAC as the API and the events show it.
create or replace function mac_document(m macs) returns json language sql stable as $$
  select concat('{"id":"', m.id, '","address":"', mac_text(m.mac),
    '","range_id":', coalesce('"' || m.range_id || '"', 'null'),
    ',"network_id":', coalesce('"' || m.network_id || '"', 'null'),
    ',"interface_id":', coalesce('"' || m.interface_id || '"', 'null'),
    ',"project_id":', to_json(m.project_id),
    ',"owner_type":', coalesce(to_json(m.owner_type), 'null'),
    ',"owner_id":', coalesce(to_json(m.owner_id), 'null'),
    ',"started_at":"', iso_time(m.started_at), '","ended_at":null,"reusable_at":null}')::json
$$;

create or replace function mac_document(h mac_history) returns json language sql stable as $$
  select concat('{"id":"', h.id, '","address":"', mac_text(h.mac),
    '","range_id":', coalesce('"' || h.range_id || '"', 'null'),
    ',"network_id":', coalesce('"' || h.network_id || '"', 'null'),
    ',"interface_id":', coalesce('"' || h.interface_id || '"', 'null'),
    ',"project_id":', to_json(h.project_id),
    ',"owner_type":', coalesce(to_json(h.owner_type), 'null'),
    ',"owner_id":', coalesce(to_json(h.owner_id), 'null'),
    ',"started_at":"', iso_time(h.started_at), '","ended_at":"', iso_time(h.ended_at),
    '","reusable_at":', coalesce('"' || iso_time(h.reusable_at) || '"', 'null'), '}')::json
$$;

-- Whoever deletes MACs ends them: what their ranges say waits, the rest is free again. The pools
-- are locked in the order of their ids.
create or replace function end_macs() returns trigger language plpgsql as $$
declare
  gone record;
  range mac_ranges;
  pool mac_pools;
begin
  for gone in
    select e.pool_id, count(*) as count, array_agg(e.mac) as macs from ended_macs e
    where e.pool_id is not null group by e.pool_id order by e.pool_id
  loop
    update mac_pools p set held = held - gone.count,
      changed_at = greatest(wall_time(), p.changed_at + interval '1 microsecond')
    where p.id = gone.pool_id returning * into pool;
    select * into range from mac_ranges r where r.id = pool.range_id; -- As it is under the lock.
    if range.reuse_after_seconds > 0 then
      update mac_pools p set waiting = waiting + gone.count where p.id = pool.id;
    else
      perform give_macs(range, pool.id, gone.macs,
        array_fill(pool.changed_at, array[cardinality(gone.macs)]));
    end if;
  end loop;
  with ended as (
    insert into mac_history (id, mac, range_id, network_id, interface_id, project_id, owner_type,
      owner_id, started_at, ended_at, reusable_at)
    select e.id, e.mac, e.range_id, e.network_id, e.interface_id, e.project_id, e.owner_type,
      e.owner_id, e.started_at, t.at,
      case when r.reuse_after_seconds > 0
        then p.changed_at + make_interval(secs => r.reuse_after_seconds) end
    from ended_macs e left join mac_pools p on p.id = e.pool_id
      left join mac_ranges r on r.id = p.range_id,
      lateral (select greatest(coalesce(p.changed_at, wall_time()), e.started_at)) t (at)
    returning *
  )
  insert into mac_waiting (mac_id, pool_id, mac, project_id, owner_id, reusable_at)
  select h.id, e.pool_id, h.mac, h.project_id, h.owner_id, h.reusable_at
  from ended h join ended_macs e on e.id = h.id where h.reusable_at is not null;
  return null;
end $$;

drop trigger if exists end_mac on macs;
create or replace trigger end_macs
after delete on macs referencing old table as ended_macs
for each statement execute function end_macs();
