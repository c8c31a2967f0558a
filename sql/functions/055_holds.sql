-- One batch of changes of holds in one transaction. Every request has its own outcome.
do $$ begin
  if to_regtype('hold_request') is null then
    create type hold_request as (request int, id uuid, generation int, lifetime_seconds bigint);
  end if;
  if not exists (
    select from pg_attribute
    where attrelid = (select typrelid from pg_type where oid = to_regtype('hold_request'))
      and attname = 'caller_id') then
    alter type hold_request add attribute caller_id bigint, add attribute request_id uuid,
      add attribute global_request_id uuid;
  end if;
end $$;

-- A batch is a JSON array of hold_request: the hold gets a new end, so many seconds from now, or
-- none, and then it is confirmed. One that has lapsed stays lapsed, whether or not it has been
-- cleaned up. Answers a row for each request: the allocation, or a refusal. `again` refuses what
-- can only be done after this batch. To confirm once more changes nothing.
create or replace function renew_holds(batch jsonb)
returns table (request int, allocation json, refusal text)
language plpgsql
set enable_seqscan = off -- As in allocate_addresses.
as $$
#variable_conflict use_column
declare
  requests hold_request[] := array(
    select r from jsonb_populate_recordset(null::hold_request, batch) r);
  locked uuid[];
  done int[];
  changed allocations[];
begin
  locked := array(
    select l.block_id from lock_blocks(array(
      select a.block_id from allocations a join unnest(requests) r on r.id = a.id)) l);

  with first as (
    select distinct on (r.id) r.* from unnest(requests) r order by r.id, r.request
  ), renewed as (
    update allocations a
    set expires_at = u.changed_at + make_interval(secs => r.lifetime_seconds),
      generation = a.generation + 1
    from first r, block_usage u
    where a.id = r.id and a.block_id = any (locked) and u.block_id = a.block_id
      and a.expires_at > u.changed_at and a.generation = coalesce(r.generation, a.generation)
    returning a.*::allocations as allocation, r.request
  )
  select array_agg(n.request), array_agg(n.allocation) into done, changed from renewed n;

  if changed is not null then
    perform lock_events();
    insert into events (seq, type, object_id, project_id, owner_id, data, caller_id, request_id,
      global_request_id)
    select nextval('event_seq'), case when a.expires_at is null then 'allocation.confirmed'
      else 'allocation.renewed' end, a.id, a.project_id, a.owner_id, allocation_document(a),
      coalesce(r.caller_id, done_by(1)::bigint), coalesce(r.request_id, done_by(2)::uuid),
      coalesce(r.global_request_id, done_by(3)::uuid)
    from unnest(changed) a
      join unnest(requests) r on r.id = a.id and r.request = any (done);
  end if;

  return query
    select r.request, case when outcome.refusal is null then allocation_document(a) end,
      outcome.refusal
    from unnest(requests) r
      left join allocations a on a.id = r.id
      left join allocation_history h on h.id = r.id
      left join block_usage u on u.block_id = a.block_id,
      lateral (select case
        when r.request = any (done) then null
        when a.id = any (select c.id from unnest(changed) c) then 'again'
        when a.id is null and h.id is null then 'allocation_not_found'
        when a.id is null and h.expires_at <= h.ended_at then 'hold_expired'
        when a.id is null then 'allocation_ended'
        when a.expires_at is null and r.lifetime_seconds is null
          and coalesce(r.generation in (a.generation, a.generation - 1), true) then null
        when r.generation <> a.generation then 'generation_mismatch'
        when a.expires_at is null then 'allocation_not_held'
        when a.expires_at <= u.changed_at then 'hold_expired'
        else 'again'
      end) as outcome (refusal);
end $$;

-- Gives what ended, and still waits in quarantine, back to who had it: a new allocation of the same
-- address. A hold that has lapsed ends here if nothing has ended it yet. Answers why not, or
-- nothing; a refusal is to be rolled back.
create or replace function restore_allocation(
  ended uuid, new_id uuid, lifetime_seconds bigint, out refusal text, out detail text)
language plpgsql
set enable_seqscan = off
as $$
declare
  last allocation_history;
  usage block_usage;
  lapsed uuid[];
  added allocations;
  more_64s numeric;
  room jsonb;
  under uuid;
begin
  select * into usage from lock_blocks(array(
    select a.block_id from allocations a where a.id = ended
    union all
    select h.block_id from allocation_history h where h.id = ended));
  with over as (
    delete from allocations a where a.id = ended and a.expires_at <= usage.changed_at
    returning a.id
  )
  select array_agg(o.id) into lapsed from over o;
  select * into last from allocation_history h where h.id = ended;
  if last.id is null then
    refusal := case when exists (select from allocations a where a.id = ended)
      then 'allocation_not_ended' else 'allocation_not_found' end;
    return;
  end if;
  if not exists (
    select from quarantine q where q.allocation_id = ended
      and q.quarantined_until > usage.changed_at) then
    refusal := 'quarantine_over';
    return;
  end if;
  more_64s := ipv6_64s(last.address);
  room := lock_quotas(array[last.project_id], array[last.scope_id]);
  if use_quota(room, last.project_id, last.scope_id, 1, more_64s) is null then
    refusal := 'quota_exceeded';
    detail := quota_reached(room, last.project_id, last.scope_id, 1, more_64s);
    return;
  end if;
  if last.grant_id is not null then
    -- It is taken anew: what was revoked meanwhile does not come back.
    perform lock_project_usage(array[last.project_id], array[last.scope_id]);
    perform lock_grants(array[last.project_id], array[last.block_id], array[null::uuid], '{}');
    select c.grant_id, c.refusal, c.detail into under, refusal, detail
    from choose_grant(last.project_id, last.block_id, null, grant_weight(last.address), '{}') c;
    if refusal is not null then
      return;
    end if;
  end if;
  delete from quarantine q where q.allocation_id = ended;
  insert into allocations (id, scope_id, block_id, address, project_id, owner_type, owner_id, name,
    tags, started_at, expires_at, grant_id)
  values (new_id, last.scope_id, last.block_id, last.address, last.project_id, last.owner_type,
    last.owner_id, last.name, last.tags, usage.changed_at,
    usage.changed_at + make_interval(secs => lifetime_seconds), under)
  returning * into added;
  perform lock_events();
  perform append_ended(lapsed, null);
  perform append_started(array[added], null);
end $$;

-- Frees what waits in quarantine before its time; answers how many addresses of how many asked for.
create or replace function end_quarantine(waiting uuid[]) returns int language plpgsql
set enable_seqscan = off
as $$
declare
  usage block_usage;
  block blocks;
  ended record;
  freed int := 0;
begin
  for usage in select * from lock_blocks(array(
    select q.block_id from quarantine q where q.allocation_id = any (waiting)))
  loop
    select * into block from blocks b where b.id = usage.block_id;
    for ended in
      with over as (
        delete from quarantine q
        where q.allocation_id = any (waiting) and q.block_id = block.id returning q.address
      )
      select * from over order by address
    loop
      perform give_back(block, first_of(ended.address), last_of(ended.address), usage.changed_at);
      freed := freed + 1;
    end loop;
  end loop;
  return freed;
end $$;
