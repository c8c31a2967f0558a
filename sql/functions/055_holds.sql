-- Gives holds a new end, `lifetime` from now, or none: then they are confirmed. A hold that has
-- lapsed stays lapsed, whether or not it has been cleaned up. Answers each allocation or why not.
create or replace function renew_holds(wanted uuid[], lifetime interval, generations int[])
returns table (id uuid, refusal text) language plpgsql
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  changed allocations[];
begin
  perform lock_blocks(array(
    select a.block_id from allocations a where a.id = any (wanted)));
  with renewed as (
    update allocations a
    set expires_at = u.changed_at + lifetime, generation = a.generation + 1
    from block_usage u, unnest(wanted, generations) w (id, generation)
    where a.id = w.id and u.block_id = a.block_id and a.expires_at > u.changed_at
      and a.generation = coalesce(w.generation, a.generation)
    returning a.*
  )
  select array_agg(r) into changed from renewed r;
  if changed is not null then
    perform lock_events();
    insert into events (seq, type, object_id, project_id, owner_id, data)
    select nextval('event_seq'), case when lifetime is null then 'allocation.confirmed'
      else 'allocation.renewed' end, a.id, a.project_id, a.owner_id, allocation_document(a)
    from unnest(changed) a;
  end if;
  return query
    select w.id, case
      when c.id is not null then null
      when a.id is null and h.id is null then 'allocation_not_found'
      when a.id is null then 'allocation_ended'
      when a.generation <> w.generation then 'generation_mismatch'
      when a.expires_at is null then 'allocation_not_held'
      else 'hold_expired' end
    from unnest(wanted, generations) w (id, generation)
      left join unnest(changed) c on c.id = w.id
      left join allocations a on a.id = w.id
      left join allocation_history h on h.id = w.id;
end $$;

-- Gives what ended, and still waits in quarantine, back to who had it: a new allocation of the same
-- address. Answers why not, or nothing.
create or replace function restore_allocation(
  ended uuid, new_id uuid, lifetime_seconds bigint, out refusal text, out detail text)
language plpgsql
set enable_seqscan = off
as $$
declare
  last allocation_history;
  usage block_usage;
  added allocations;
  more_64s numeric;
  room jsonb;
begin
  select * into last from allocation_history h where h.id = ended;
  if last.id is null then
    refusal := case when exists (select from allocations a where a.id = ended)
      then 'allocation_not_ended' else 'allocation_not_found' end;
    return;
  end if;
  select * into usage from lock_blocks(array[last.block_id]);
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
  delete from quarantine q where q.allocation_id = ended;
  insert into allocations (id, scope_id, block_id, address, project_id, owner_type, owner_id, name,
    tags, started_at, expires_at)
  values (new_id, last.scope_id, last.block_id, last.address, last.project_id, last.owner_type,
    last.owner_id, last.name, last.tags, usage.changed_at,
    usage.changed_at + make_interval(secs => lifetime_seconds))
  returning * into added;
  perform lock_events();
  perform append_started(array[added]);
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
