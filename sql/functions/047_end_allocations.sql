-- Gives back what ended and does not wait; neighbours go back as one run. It is one statement, for
-- each statement costs more than what it does here.
create or replace function give_back_ended(gone uuid[]) returns void language plpgsql as $$
begin
  perform
    (select give_range(b.id, r.first, r.last, age_of(b, r.since), null)
      where b.excluded_octets is null),
    (select give_back(b, r.first, r.last, r.since) where b.excluded_octets is not null)
  from (
    select r.block_id, min(r.first) as first, max(r.last) as last, max(r.ended_at) as since
    from (
      select *, count(*) filter (where is_start) over w as number
      from (
        select *, coalesce(lag(last) over w + 1 <> first, true) as is_start
        from (
          select h.block_id, h.ended_at, first_of(h.address) as first, last_of(h.address) as last
          from allocation_history h where h.id = any (gone) and h.quarantined_until is null
        ) ended
        window w as (partition by block_id order by first)
      ) neighbours
      window w as (partition by block_id order by first)
    ) r
    group by r.block_id, r.number
  ) r join blocks b on b.id = r.block_id;
end $$;

-- A transaction that locks first and allocates later ends no hold that lapses meanwhile: it has not
-- locked what its project uses. It sets this for itself.
create or replace function lapse_limit() returns timestamptz language sql stable as $$
  select coalesce(nullif(current_setting('melange.lapse_limit', true), ''), 'infinity')::timestamptz
$$;

-- The holds that reclaim_block ends in these blocks, which are locked.
create or replace function lapsed_holds(usages block_usage[], at_most int)
returns setof allocations language sql stable as $$
  select a.* from unnest(usages) u, lateral (
    select * from allocations d
    where d.block_id = u.block_id and d.expires_at <= least(u.changed_at, lapse_limit())
    order by d.expires_at, d.id limit at_most) a
  where u.held > 0
$$;

-- Ends holds of a block that have lapsed, and quarantines that are over: at most so many of each.
-- It looks again at each of them, under the lock of the block (I6). Answers the ids of the holds.
create or replace function reclaim_block(block blocks, at timestamptz, at_most int)
returns uuid[] language plpgsql as $$
declare
  lapsed uuid[];
  waiting record;
begin
  with ended as (
    delete from allocations a where a.id in (
      select d.id from allocations d
      where d.block_id = block.id and d.expires_at <= at order by d.expires_at, d.id limit at_most)
      and a.expires_at <= at
    returning a.id
  )
  select coalesce(array_agg(id), '{}') into lapsed from ended;
  for waiting in
    with over as (
      delete from quarantine q where q.allocation_id in (
        select d.allocation_id from quarantine d
        where d.block_id = block.id and d.quarantined_until <= at
        order by d.quarantined_until limit at_most)
      returning q.address, q.quarantined_until
    )
    select * from over order by address
  loop
    perform give_back(block, first_of(waiting.address), last_of(waiting.address),
      waiting.quarantined_until);
  end loop;
  return lapsed;
end $$;

-- Single addresses of a pool that could be given back before their time, by the allocations that
-- left them: those that have waited for longest first, up to so many.
create or replace function reusable(block blocks, from_pool text, at_most bigint)
returns uuid[] language plpgsql stable as $$
begin
  if not block.quarantine_reuse or at_most <= 0 then
    return '{}';
  end if;
  return array(
    select d.allocation_id from quarantine d
    where d.block_id = block.id and masklen(d.address) = masklen(first_of(d.address))
      and from_pool = coalesce((
        select coalesce(k.purpose, ' ') from kept_ranges k -- A space is no purpose.
        where k.block_id = block.id and k.last >= d.address and k.first <= d.address), '')
      and last_octet(d.address) <> all (coalesce(block.excluded_octets, '{}'))
    order by d.ended_at, d.allocation_id limit at_most);
end $$;

-- Gives single addresses of a pool back before their time: as many as are missing, or none if there
-- are fewer. Answers whether they are there now.
create or replace function reuse_quarantine(
  block blocks, from_pool text, missing bigint, at timestamptz)
returns boolean language plpgsql as $$
declare
  chosen uuid[] := reusable(block, from_pool, missing);
  waiting inet;
begin
  if cardinality(chosen) < missing then
    return false;
  end if;
  for waiting in
    with cut as (
      delete from quarantine q where q.allocation_id = any (chosen) returning q.address
    )
    select address from cut order by address
  loop
    perform give_back(block, waiting, waiting, at);
  end loop;
  return true;
end $$;

-- One batch of release requests in one transaction. Every request has its own outcome.
do $$ begin
  if to_regtype('release_request') is null then
    create type release_request as (request int, id uuid, generation int);
  end if;
  if not exists (
    select from pg_attribute
    where attrelid = (select typrelid from pg_type where oid = to_regtype('release_request'))
      and attname = 'project_id') then
    alter type release_request add attribute project_id text; -- Null is any.
  end if;
  if not exists (
    select from pg_attribute
    where attrelid = (select typrelid from pg_type where oid = to_regtype('release_request'))
      and attname = 'caller_id') then
    alter type release_request add attribute caller_id bigint, add attribute request_id uuid,
      add attribute global_request_id uuid;
  end if;
end $$;

-- A batch is a JSON array of release_request. Answers a row for each request: the allocation as it
-- ended, or an error. What ended before just as the request says is answered the same way again.
create or replace function release_allocations(batch jsonb)
returns table (request int, allocation json, error text)
language plpgsql
set enable_seqscan = off -- As in allocate_addresses.
as $$
#variable_conflict use_column
declare
  requests release_request[] := array(
    select r from jsonb_populate_recordset(null::release_request, batch) r);
  gone uuid[];
  documents json[];
begin
  perform lock_blocks(array(
    select a.block_id from allocations a join unnest(requests) r on r.id = a.id
    where r.project_id is null or r.project_id = a.project_id));

  -- The trigger moves what is deleted to the history.
  with deleted as (
    delete from allocations a using unnest(requests) r
    where a.id = r.id and (r.generation is null or r.generation = a.generation)
      and (r.project_id is null or r.project_id = a.project_id)
    returning a.id
  )
  select array_agg(id) into gone from deleted;

  if gone is not null then
    perform give_back_ended(gone);
    perform lock_events();
    select array_agg(e.id), array_agg(e.document) into gone, documents
    from append_ended(gone, array(
      select distinct on (r.id) (r.id, r.caller_id, r.request_id, r.global_request_id)::doer
      from unnest(requests) r where r.caller_id is not null
      order by r.id, r.request)) e;
  end if;

  if cardinality(gone) = cardinality(requests) then
    return query
      select r.request, e.document, null::text
      from unnest(requests) r join unnest(gone, documents) e (id, document) on e.id = r.id;
    return;
  end if;
  return query
    select r.request, case when refusal is null then allocation_document(h) end, refusal
    from unnest(requests) r
      left join allocation_history h on h.id = r.id
      left join allocations a on a.id = r.id,
      lateral (select case
        when coalesce(h.project_id, a.project_id) is distinct from
          coalesce(r.project_id, h.project_id, a.project_id, '') then 'allocation_not_found'
        when h.id is null or h.generation <> r.generation + 1 then 'generation_mismatch'
      end) as outcome (refusal);
end $$;

-- Ends what is due in up to so many blocks, and up to so much of each; answers in how many blocks
-- something was due: 0 when it is done.
create or replace function reclaim(blocks_max int, at_most int)
returns int language plpgsql
set enable_seqscan = off
as $$
declare
  usage block_usage;
  usages block_usage[];
  block blocks;
  as_of timestamptz := wall_time(); -- A volatile function would be no condition of an index.
  due uuid[] := array(
    select distinct u.block_id from (
      (select a.block_id from allocations a
      where a.expires_at <= as_of order by a.expires_at limit at_most)
      union all
      (select q.block_id from quarantine q
      where q.quarantined_until <= as_of order by q.quarantined_until limit at_most)
    ) d join block_usage u on u.block_id = d.block_id
    order by u.block_id limit blocks_max);
  lapsed uuid[] := '{}';
begin
  usages := array(select u from lock_blocks(due) u);
  perform lock_project_usage(array_agg(h.project_id), array_agg(h.scope_id))
  from lapsed_holds(usages, at_most) h;
  perform lock_grants('{}', '{}', '{}', array_agg(h.id)) from lapsed_holds(usages, at_most) h
  having count(h.grant_id) > 0;
  foreach usage in array usages loop
    select * into block from blocks b where b.id = usage.block_id;
    lapsed := lapsed || reclaim_block(block, usage.changed_at, at_most);
  end loop;
  if cardinality(lapsed) > 0 then
    perform lock_events();
    perform append_ended(lapsed, null);
  end if;
  return cardinality(due);
end $$;
