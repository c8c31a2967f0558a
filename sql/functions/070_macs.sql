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

create or replace function give_free_mac(pool uuid, mac bigint, since timestamptz) returns void
language plpgsql as $$
declare
  below mac_free_ranges;
  above mac_free_ranges;
begin
  select * into above from mac_free_ranges f
  where f.pool_id = pool and f.last >= mac order by f.last limit 1;
  if above.first <= mac then
    raise exception '% is free already.', mac_text(mac);
  end if;
  if above.first <> mac + 1 or above.free_since is distinct from since then
    above := null;
  end if;
  select * into below from mac_free_ranges f where f.pool_id = pool and f.last = mac - 1;
  if below.free_since is distinct from since then
    below := null;
  end if;
  if above.first is not null then
    if below.first is not null then
      delete from mac_free_ranges f where f.pool_id = pool and f.last = below.last;
    end if;
    update mac_free_ranges f set first = coalesce(below.first, mac)
    where f.pool_id = pool and f.last = above.last;
  elsif below.first is not null then
    update mac_free_ranges f set last = mac where f.pool_id = pool and f.last = below.last;
  else
    insert into mac_free_ranges (pool_id, first, last, free_since) values (pool, mac, mac, since);
  end if;
end $$;

-- Gives back a MAC that nobody has or waits for, unless it has been forbidden meanwhile.
create or replace function give_mac(range mac_ranges, pool uuid, mac bigint, since timestamptz)
returns void language plpgsql as $$
begin
  if not range.forbidden_macs @> mac then
    perform give_free_mac(pool, mac,
      case range.strategy when 'least_recently_used' then since end);
  end if;
end $$;

-- Gives back what has waited long enough, the longest first.
create or replace function reclaim_macs(range mac_ranges, pool mac_pools, at_most int)
returns void language plpgsql as $$
declare
  over mac_waiting;
  gone int := 0;
begin
  for over in
    delete from mac_waiting w where w.mac_id in (
      select d.mac_id from mac_waiting d
      where d.pool_id = pool.id and d.reusable_at <= pool.changed_at
      order by d.reusable_at limit at_most)
    returning *
  loop
    perform give_mac(range, pool.id, over.mac, over.reusable_at);
    gone := gone + 1;
  end loop;
  if gone > 0 then
    update mac_pools p set waiting = waiting - gone where p.id = pool.id;
  end if;
end $$;

-- The run from which the next MAC comes.
create or replace function next_mac_run(range mac_ranges, pool uuid, around bigint)
returns mac_free_ranges language plpgsql stable as $$
declare
  run mac_free_ranges;
begin
  if range.strategy = 'least_recently_used' then
    select * into run from mac_free_ranges f
    where f.pool_id = pool and f.free_since is not null order by f.free_since, f.last limit 1;
    return run;
  end if;
  if range.strategy = 'random' then
    select * into run from mac_free_ranges f
    where f.pool_id = pool and f.last >= around order by f.last limit 1;
  end if;
  if run.first is null then
    select * into run from mac_free_ranges f where f.pool_id = pool order by f.last limit 1;
  end if;
  return run;
end $$;

-- Takes a MAC of a range: a certain one, or one by the strategy of the range. What waits is for its
-- last holder alone.
create or replace function take_from_mac_range(
  range_named uuid, wanted bigint, network uuid, project text, owner text,
  out mac bigint, out pool uuid, out taken_at timestamptz, out refusal text)
language plpgsql as $$
declare
  range mac_ranges;
  locked mac_pools;
  run mac_free_ranges;
  around bigint;
  left_by mac_waiting;
begin
  select * into range from mac_ranges r where r.id = range_named;
  if range.id is null then
    refusal := 'mac_range_not_found';
    return;
  end if;
  if range.uniqueness = 'network' and network is null then
    refusal := 'mac_needs_network';
    return;
  end if;
  locked := lock_mac_pool(range, network);
  select * into range from mac_ranges r where r.id = range_named; -- As it is under the lock.
  perform reclaim_macs(range, locked, 100);
  if wanted is not null then
    select * into left_by from mac_waiting w where w.pool_id = locked.id and w.mac = wanted;
    if range.forbidden_macs @> wanted then
      refusal := 'mac_forbidden';
    elsif left_by.mac_id is null then
      select * into run from mac_free_ranges f
      where f.pool_id = locked.id and f.last >= wanted order by f.last limit 1;
      if run.first <= wanted then
        perform take_free_mac(run, wanted);
      else
        refusal := 'mac_taken';
      end if;
    elsif left_by.reusable_at <= locked.changed_at
      or left_by.project_id = project and left_by.owner_id = owner then
      delete from mac_waiting w where w.mac_id = left_by.mac_id;
      update mac_pools p set waiting = waiting - 1 where p.id = locked.id;
    else
      refusal := 'mac_waits';
    end if;
    mac := wanted;
  else
    around := range.first + floor(random() * (range.last - range.first + 1))::bigint;
    run := next_mac_run(range, locked.id, around);
    if run.first is null then
      refusal := 'mac_range_full';
    else
      mac := case when range.strategy <> 'random' then run.first
        when around between run.first and run.last then around
        else run.first + floor(random() * (run.last - run.first + 1))::bigint end;
      perform take_free_mac(run, mac);
    end if;
  end if;
  if refusal is null then
    update mac_pools p set held = held + 1 where p.id = locked.id;
    pool := locked.id;
    taken_at := locked.changed_at;
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

-- For whoever takes and releases several MACs in one transaction: one at a time, so that no two
-- wait for each other's pools. All others hold one pool at most.
create or replace function lock_many_macs() returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock(7809644627822473830); -- Any constant would do.
end $$;

-- Gives a MAC to somebody: this one, whether it is of a range or not, or one of a range, or (if
-- neither is named) of any range that serves the project. Answers why not, if not.
create or replace function take_mac(
  new_id uuid, wanted_range uuid, wanted bigint, network uuid, project text, kind text, owner text,
  interface uuid)
returns text language plpgsql as $$
declare
  candidates uuid[];
  candidate uuid;
  mac bigint;
  pool uuid;
  taken_at timestamptz;
  refusal text := 'no_mac_range';
begin
  perform hold_mac_ranges();
  if network is not null then
    perform from networks n where n.id = network for key share;
    if not found then
      return 'network_not_found';
    end if;
  end if;
  if wanted is not null then
    candidates := array(
      select r.id from (select * from mac_ranges r where r.first <= wanted
        order by r.first desc limit 1) r
      where r.last >= wanted);
    if wanted_range is not null and wanted_range <> all (candidates) then
      return case when exists (select from mac_ranges r where r.id = wanted_range)
        then 'mac_outside_range' else 'mac_range_not_found' end;
    end if;
    if candidates = '{}' then
      insert into macs (id, mac, network_id, interface_id, project_id, owner_type, owner_id,
        started_at)
      values (new_id, wanted, network, interface, project, kind, owner, greatest(wall_time(), (
        select max(h.ended_at) from mac_history h where h.mac = wanted)))
      on conflict on constraint mac_taken do nothing;
      return case when not found then 'mac_taken' end;
    end if;
  elsif wanted_range is not null then
    candidates := array[wanted_range];
  else
    candidates := array(select mac_ranges_for(project));
  end if;
  foreach candidate in array candidates loop
    if wanted is null and not seems_free(candidate, network) then
      refusal := 'mac_range_full';
      continue;
    end if;
    begin
      select t.mac, t.pool, t.taken_at, t.refusal into mac, pool, taken_at, refusal
      from take_from_mac_range(candidate, wanted, network, project, owner) t;
      if refusal is not null then
        raise exception using errcode = 'IP409'; -- Which gives back the lock of the pool.
      end if;
    exception when sqlstate 'IP409' then
      null;
    end;
    if refusal is null then
      insert into macs (id, mac, range_id, pool_id, network_id, interface_id, project_id,
        owner_type, owner_id, started_at)
      values (new_id, mac, candidate, pool, network, interface, project, kind, owner, taken_at);
      return null;
    end if;
    exit when wanted is not null or wanted_range is not null;
  end loop;
  return refusal;
end $$;

-- Whoever deletes a MAC ends it: what its range says waits, the rest is free again.
create or replace function end_mac() returns trigger language plpgsql as $$
declare
  range mac_ranges;
  pool mac_pools;
  at timestamptz;
  until timestamptz;
begin
  if old.pool_id is not null then
    update mac_pools p set held = held - 1,
      changed_at = greatest(wall_time(), p.changed_at + interval '1 microsecond')
    where p.id = old.pool_id returning * into pool;
    select * into range from mac_ranges r where r.id = old.range_id;
    at := pool.changed_at;
    if range.reuse_after_seconds > 0 then
      until := at + make_interval(secs => range.reuse_after_seconds);
      insert into mac_waiting (mac_id, pool_id, mac, project_id, owner_id, reusable_at)
      values (old.id, pool.id, old.mac, old.project_id, old.owner_id, until);
      update mac_pools p set waiting = waiting + 1 where p.id = pool.id;
    else
      perform give_mac(range, pool.id, old.mac, at);
    end if;
  end if;
  insert into mac_history (id, mac, range_id, network_id, interface_id, project_id, owner_type,
    owner_id, started_at, ended_at, reusable_at)
  values (old.id, old.mac, old.range_id, old.network_id, old.interface_id, old.project_id,
    old.owner_type, old.owner_id, old.started_at,
    greatest(coalesce(at, wall_time()), old.started_at), until);
  return null;
end $$;

create or replace trigger end_mac
after delete on macs for each row execute function end_mac();
