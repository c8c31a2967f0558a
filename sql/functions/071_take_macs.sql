-- A request for a MAC, as a batch holds many.
do $$ begin
  if to_regtype('mac_request') is null then
    create type mac_request as (
      request int,          -- Names the request in the answer.
      id uuid,              -- That the MAC will have.
      range_id uuid,        -- Of this range; without it, of any that serves the project,
      mac bigint,           -- or this MAC, of a range or of none.
      network_id uuid,
      interface_id uuid,
      project_id text,
      owner_type text,
      owner_id text,
      caller text,          -- Who asks, with a key for asking again.
      idempotency_key text,
      fingerprint text
    );
  end if;
  if not exists (
    select from pg_attribute
    where attrelid = (select typrelid from pg_type where oid = to_regtype('mac_request'))
      and attname = 'caller_id') then
    alter type mac_request add attribute caller_id bigint, add attribute request_id uuid,
      add attribute global_request_id uuid;
  end if;
end $$;

-- Takes MACs of a range by its strategy, as many as there are of those wanted. The pool is locked
-- from here on.
create or replace function take_next_macs(
  range_named uuid, network uuid, wanted int,
  out macs bigint[], out pool uuid, out taken_at timestamptz, out refusal text)
language plpgsql as $$
declare
  range mac_ranges;
  locked mac_pools;
  runs refcursor;
  run mac_free_ranges;
  used_up mac_free_ranges; -- The last run of which nothing is left; nor is of those before it.
  mac bigint;
  count bigint;
begin
  macs := '{}';
  select * into range from mac_ranges r where r.id = range_named;
  if range.id is null then
    refusal := 'mac_range_not_found';
    return;
  elsif range.uniqueness = 'network' and network is null then
    refusal := 'mac_needs_network';
    return;
  end if;
  locked := lock_mac_pool(range, network);
  select * into range from mac_ranges r where r.id = range_named; -- As it is under the lock.
  pool := locked.id;
  taken_at := locked.changed_at;
  if locked.waiting > 0 then
    perform reclaim_macs(range, locked, greatest(wanted, 100));
  end if;

  if range.strategy = 'random' then
    for n in 1..wanted loop
      mac := range.first + floor(random() * (range.last - range.first + 1))::bigint;
      select * into run from mac_free_ranges f
      where f.pool_id = pool and f.last >= mac order by f.last limit 1;
      if run.first is null then
        select * into run from mac_free_ranges f where f.pool_id = pool order by f.last limit 1;
      end if;
      exit when run.first is null;
      if mac not between run.first and run.last then
        mac := run.first + floor(random() * (run.last - run.first + 1))::bigint;
      end if;
      perform take_free_mac(run, mac);
      macs := macs || mac;
    end loop;
  else
    if range.strategy = 'least_recently_used' then
      open runs for select * from mac_free_ranges f
        where f.pool_id = pool and f.free_since is not null order by f.free_since, f.last;
    else
      open runs for select * from mac_free_ranges f where f.pool_id = pool order by f.last;
    end if;
    while cardinality(macs) < wanted loop
      fetch runs into run;
      exit when run.first is null;
      count := least(wanted - cardinality(macs), run.last - run.first + 1);
      macs := macs || array(select run.first + n from generate_series(0, count - 1) n);
      if run.first + count > run.last then
        used_up := run;
      else
        update mac_free_ranges f set first = run.first + count
        where f.pool_id = pool and f.last = run.last;
      end if;
    end loop;
    close runs;
    if used_up.first is not null and range.strategy = 'least_recently_used' then
      delete from mac_free_ranges f where f.pool_id = take_next_macs.pool
        and (f.free_since, f.last) <= (used_up.free_since, used_up.last);
    elsif used_up.first is not null then
      delete from mac_free_ranges f
      where f.pool_id = take_next_macs.pool and f.last <= used_up.last;
    end if;
  end if;
  if macs <> '{}' then
    update mac_pools p set held = held + cardinality(macs) where p.id = pool;
  end if;
  if cardinality(macs) < wanted then
    refusal := 'mac_range_full';
  end if;
end $$;

-- Takes certain MACs of a range for those who ask for them, each or the reason why not. What waits
-- is for its last holder alone. The pool is locked from here on.
create or replace function take_certain_macs(range_named uuid, network uuid, wishes mac_request[])
returns table (request int, pool uuid, taken_at timestamptz, refusal text)
language plpgsql as $$
#variable_conflict use_column
declare
  range mac_ranges;
  locked mac_pools;
  wish mac_request;
  run mac_free_ranges;
  left_by mac_waiting;
  why text;
  held_more int := 0;
  waiting_less int := 0;
begin
  select * into range from mac_ranges r where r.id = range_named;
  if range.uniqueness = 'network' and network is null then
    return query
      select w.request, null::uuid, null::timestamptz, 'mac_needs_network' from unnest(wishes) w;
    return;
  end if;
  locked := lock_mac_pool(range, network);
  select * into range from mac_ranges r where r.id = range_named; -- As it is under the lock.
  foreach wish in array wishes loop
    why := null;
    left_by := null;
    if locked.waiting > 0 then
      select * into left_by from mac_waiting w where w.pool_id = locked.id and w.mac = wish.mac;
    end if;
    if range.forbidden_macs @> wish.mac then
      why := 'mac_forbidden';
    elsif left_by.mac_id is null then
      select * into run from mac_free_ranges f
      where f.pool_id = locked.id and f.last >= wish.mac order by f.last limit 1;
      if run.first <= wish.mac then
        perform take_free_mac(run, wish.mac);
      else
        why := 'mac_taken';
      end if;
    elsif left_by.reusable_at <= locked.changed_at
      or left_by.project_id = wish.project_id and left_by.owner_id = wish.owner_id then
      delete from mac_waiting w where w.mac_id = left_by.mac_id;
      waiting_less := waiting_less + 1;
    else
      why := 'mac_waits';
    end if;
    if why is null then
      held_more := held_more + 1;
      return query select wish.request, locked.id, locked.changed_at, null::text;
    else
      return query select wish.request, null::uuid, null::timestamptz, why;
    end if;
  end loop;
  if held_more > 0 then
    update mac_pools p set held = held + held_more, waiting = waiting - waiting_less
    where p.id = locked.id;
  end if;
end $$;

-- The ranges in which the MACs lie that requests name; null for one of no range.
create or replace function ranges_of_macs(requests mac_request[])
returns table (request int, range_id uuid, uniqueness text) language sql stable as $$
  select r.request, f.id, f.uniqueness
  from unnest(requests) r left join lateral (
    select * from mac_ranges g where g.first <= r.mac order by g.first desc limit 1
  ) f on f.last >= r.mac
  where r.mac is not null
$$;

-- Whether requests are sure to need no more than one pool, or one MAC of no range.
create or replace function is_one_place(requests mac_request[]) returns boolean
language sql stable as $$
  select case when cardinality(requests) = 1
    then requests[1].mac is not null or requests[1].range_id is not null
    else bool_and(r.mac is null and r.range_id is not null and g.uniqueness = 'range')
      and count(distinct r.range_id) = 1 end
  from unnest(requests) r left join mac_ranges g on g.id = r.range_id
$$;

-- Gives MACs to those who ask: a certain one, whether it is of a range or not, or one of a range,
-- or (if neither is named) of any range that serves the project. Every request has its own outcome:
-- a MAC or a refusal. The events are for the caller to write.
create or replace function take_macs(requests mac_request[])
returns table (request int, mac json, refusal text) language plpgsql
set enable_seqscan = off -- As in allocate_addresses.
as $$
#variable_conflict use_column
declare
  networks uuid[];
  place record;
  got record;
  candidate uuid;
  rest int[]; -- The requests of a place that have no MAC yet.
  why text;
  refused int[];
  refusals text[];
  taken_by int[] := '{}';
  taken bigint[] := '{}';
  ranges uuid[] := '{}';
  pools uuid[] := '{}';
  times timestamptz[] := '{}';
  own uuid[] := '{}';
begin
  networks := array(
    select n.id from networks n
    where n.id in (select r.network_id from unnest(requests) r) order by n.id for key share);
  perform hold_mac_ranges();
  if not is_one_place(requests) then
    perform lock_many_macs();
  end if;
  select coalesce(array_agg(r.request), '{}'), coalesce(array_agg(r.why), '{}')
  into refused, refusals
  from (
    select r.request, case
      when r.network_id is not null and r.network_id <> all (networks) then 'network_not_found'
      when r.mac is null or r.range_id is null or r.range_id = f.range_id then null
      when exists (select from mac_ranges g where g.id = r.range_id) then 'mac_outside_range'
      else 'mac_range_not_found' end as why
    from unnest(requests) r left join ranges_of_macs(requests) f on f.request = r.request
  ) r where r.why is not null;

  -- First certain ones, by their pools; what is of no range waits for the insert.
  for place in
    select f.range_id, case f.uniqueness when 'network' then r.network_id end as network_id,
      array_agg(r order by r.request) as wishes
    from unnest(requests) r join ranges_of_macs(requests) f on f.request = r.request
    where f.range_id is not null and r.request <> all (refused)
    group by 1, 2
  loop
    for got in select * from take_certain_macs(place.range_id, place.network_id, place.wishes) loop
      if got.refusal is null then
        taken_by := taken_by || got.request;
        ranges := ranges || place.range_id;
        pools := pools || got.pool;
        times := times || got.taken_at;
      else
        refused := refused || got.request;
        refusals := refusals || got.refusal;
      end if;
    end loop;
  end loop;
  taken := array(
    select r.mac from unnest(taken_by) with ordinality t (request, n)
      join unnest(requests) r on r.request = t.request order by t.n);

  -- Then any ones, for all together that the same ranges serve.
  for place in
    select s.candidates, case when s.is_per_network then r.network_id end as network_id,
      array_agg(r.request order by r.request) as wanted_by
    from unnest(requests) r join (
      select k.range_id, k.project_id, c.candidates, exists (
        select from mac_ranges g where g.id = any (c.candidates) and g.uniqueness = 'network'
      ) as is_per_network
      from (
        select distinct r.range_id, case when r.range_id is null then r.project_id end as project_id
        from unnest(requests) r where r.mac is null
      ) k, lateral (select case when k.range_id is not null then array[k.range_id]
        else array(select mac_ranges_for(k.project_id)) end) c (candidates)
    ) s on coalesce(s.range_id::text, 'of ' || s.project_id)
      = coalesce(r.range_id::text, 'of ' || r.project_id)
    where r.mac is null and r.request <> all (refused)
    group by 1, 2
  loop
    rest := place.wanted_by;
    why := 'no_mac_range';
    foreach candidate in array place.candidates loop
      exit when rest = '{}';
      if cardinality(place.candidates) > 1 and not seems_free(candidate, place.network_id) then
        why := 'mac_range_full';
        continue;
      end if;
      select * into got from take_next_macs(candidate, place.network_id, cardinality(rest));
      why := got.refusal;
      continue when got.macs = '{}';
      taken_by := taken_by || rest[1 : cardinality(got.macs)];
      taken := taken || got.macs;
      ranges := ranges || array_fill(candidate, array[cardinality(got.macs)]);
      pools := pools || array_fill(got.pool, array[cardinality(got.macs)]);
      times := times || array_fill(got.taken_at, array[cardinality(got.macs)]);
      rest := rest[cardinality(got.macs) + 1 :];
    end loop;
    refused := refused || rest;
    refusals := refusals || array_fill(why, array[cardinality(rest)]);
  end loop;

  if exists (select from ranges_of_macs(requests) f where f.range_id is null) then
    with added as (
      insert into macs as m (id, mac, network_id, interface_id, project_id, owner_type, owner_id,
        started_at)
      select r.id, r.mac, r.network_id, r.interface_id, r.project_id, r.owner_type, r.owner_id,
        wall_time()
      from unnest(requests) r join ranges_of_macs(requests) f on f.request = r.request
      where f.range_id is null and r.request <> all (refused)
      order by r.mac, r.network_id, r.request
      on conflict on constraint mac_taken do nothing
      returning m.id
    )
    select coalesce(array_agg(a.id), '{}') into own from added a;
    -- Now that nobody else has it, its last holder is known.
    update macs m set started_at = h.until
    from (
      select o.id, (select max(h.ended_at) from mac_history h where h.mac = o.mac) as until
      from macs o where o.id = any (own)
    ) h
    where m.id = h.id and m.started_at < h.until;
  end if;
  if taken_by <> '{}' then
    insert into macs (id, mac, range_id, pool_id, network_id, interface_id, project_id, owner_type,
      owner_id, started_at)
    select r.id, t.mac, t.range_id, t.pool_id, r.network_id, r.interface_id, r.project_id,
      r.owner_type, r.owner_id,
      greatest(t.at, (select max(h.ended_at) from mac_history h where h.mac = t.mac))
    from unnest(taken_by, taken, ranges, pools, times) t (request, mac, range_id, pool_id, at)
      join unnest(requests) r on r.request = t.request;
  end if;

  return query
    select r.request, mac_document(m), null::text
    from unnest(requests) r join macs m on m.id = r.id
    where r.request = any (taken_by) or r.id = any (own)
    union all
    select x.request, null, x.refusal from unnest(refused, refusals) x (request, refusal)
    union all
    select f.request, null, 'mac_taken'
    from ranges_of_macs(requests) f join unnest(requests) r on r.request = f.request
    where f.range_id is null and f.request <> all (refused) and r.id <> all (own);
end $$;

-- The same for what is part of a larger transaction: a JSON array of mac_request.
create or replace function take_macs(batch jsonb)
returns table (request int, mac json, refusal text) language plpgsql as $$
begin
  return query select * from take_macs(array(
    select r from jsonb_populate_recordset(null::mac_request, batch) r));
end $$;

-- One batch of requests for MACs in one transaction: a JSON array of mac_request. Every request has
-- its own outcome, `again` if it can only be done after this batch.
create or replace function allocate_macs(batch jsonb)
returns table (request int, mac json, refusal text, is_repeated boolean) language plpgsql as $$
#variable_conflict use_column
declare
  requests mac_request[] := array(
    select r from jsonb_populate_recordset(null::mac_request, batch) r);
  has_keys boolean := exists (select from unnest(requests) r where r.idempotency_key is not null);
  todo int[];
  outcomes_by int[];
  documents json[];
  refusals text[];
begin
  if has_keys then
    todo := claim_keys(batch);
    return query
      select r.request, case when k.fingerprint = decode(r.fingerprint, 'hex') then k.answer end,
        case when k.fingerprint <> decode(r.fingerprint, 'hex') then 'idempotency_key_reused'
          when k.answer is null then 'again' end,
        true
      from unnest(requests) r
        join idempotency_keys k on (k.caller, k.key) = (r.caller, r.idempotency_key)
      where r.request <> all (todo);
    requests := array(select r from unnest(requests) r where r.request = any (todo));
    if requests = '{}' then
      return;
    end if;
  end if;
  select array_agg(t.request), array_agg(t.mac), array_agg(t.refusal)
  into outcomes_by, documents, refusals from take_macs(requests) t;
  if has_keys then
    delete from idempotency_keys k
    using unnest(requests) r, unnest(outcomes_by, refusals) o (request, refusal)
    where (k.caller, k.key) = (r.caller, r.idempotency_key)
      and o.request = r.request and o.refusal is not null;
    update idempotency_keys k set answer = o.mac
    from unnest(requests) r, unnest(outcomes_by, documents) o (request, mac)
    where (k.caller, k.key) = (r.caller, r.idempotency_key)
      and o.request = r.request and o.mac is not null;
  end if;
  if array_position(refusals, null) is not null then
    perform lock_events();
    insert into events (seq, type, object_id, project_id, owner_id, data, caller_id, request_id,
      global_request_id)
    select nextval('event_seq'), 'mac.created', r.id, r.project_id, r.owner_id, o.mac,
      coalesce(r.caller_id, done_by(1)::bigint), coalesce(r.request_id, done_by(2)::uuid),
      coalesce(r.global_request_id, done_by(3)::uuid)
    from unnest(outcomes_by, documents) o (request, mac)
      join unnest(requests) r on r.request = o.request
    where o.mac is not null;
  end if;
  return query
    select o.request, o.mac, o.refusal, false
    from unnest(outcomes_by, documents, refusals) o (request, mac, refusal);
end $$;

-- One batch of releases in one transaction: a JSON array of request and id. Every request has its
-- own outcome: the MAC as it ended, or a refusal. What has ended is answered the same way again.
create or replace function release_macs(batch jsonb)
returns table (request int, mac json, refusal text) language plpgsql
set enable_seqscan = off -- As in allocate_addresses.
as $$
#variable_conflict use_column
declare
  requests mac_request[] := array(
    select r from jsonb_populate_recordset(null::mac_request, batch) r);
  ids uuid[];
  pools uuid[];
  has_own boolean;
  gone uuid[];
begin
  select array_agg(m.id), array_agg(distinct m.pool_id), bool_or(m.pool_id is null)
  into ids, pools, has_own
  from macs m
  where m.id in (select r.id from unnest(requests) r) and m.interface_id is null;
  if ids is not null then
    if cardinality(ids) > 1 and (has_own or cardinality(pools) > 1) then
      perform lock_many_macs();
    end if;
    perform from mac_pools p where p.id = any (pools) order by p.id for update;
    with deleted as (
      delete from macs m where m.id = any (ids) and m.interface_id is null returning m.id
    )
    select array_agg(d.id) into gone from deleted d;
  end if;
  if gone is not null then
    perform lock_events();
    insert into events (seq, type, object_id, project_id, owner_id, data, caller_id, request_id,
      global_request_id)
    select nextval('event_seq'), 'mac.released', h.id, h.project_id, h.owner_id, mac_document(h),
      coalesce(r.caller_id, done_by(1)::bigint), coalesce(r.request_id, done_by(2)::uuid),
      coalesce(r.global_request_id, done_by(3)::uuid)
    from mac_history h
      join (select distinct on (q.id) q.* from unnest(requests) q order by q.id, q.request) r
        on r.id = h.id
    where h.id = any (gone);
  end if;
  return query
    select r.request, case when h.id is not null then mac_document(h) end,
      case when h.id is null and m.id is null then 'mac_not_found'
        when h.id is null then 'mac_in_use' end
    from unnest(requests) r left join mac_history h on h.id = r.id
      left join macs m on m.id = r.id;
end $$;
