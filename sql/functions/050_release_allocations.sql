create or replace function allocation_document(h allocation_history) returns json
language sql stable as $$
  select json_build_object('id', h.id, 'scope_id', h.scope_id, 'block_id', h.block_id,
    'address', h.address, 'project_id', h.project_id, 'owner_type', h.owner_type,
    'owner_id', h.owner_id, 'name', h.name, 'tags', h.tags, 'generation', h.generation,
    'started_at', iso_time(h.started_at), 'ended_at', iso_time(h.ended_at))
$$;

-- One batch of release requests in one transaction. Every request has its own outcome.
do $$ begin
  if to_regtype('release_request') is null then
    create type release_request as (request int, id uuid, generation int);
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
  run record;
  gone uuid[];
begin
  perform lock_blocks(array(
    select a.block_id from allocations a join unnest(requests) r on r.id = a.id));

  -- The trigger moves what is deleted to the history.
  with deleted as (
    delete from allocations a using unnest(requests) r
    where a.id = r.id and (r.generation is null or r.generation = a.generation)
    returning a.id
  )
  select array_agg(id) into gone from deleted;

  if gone is not null then
    -- Neighbours go back to the free space as one run.
    for run in
      select r.block_id, min(r.first) as first, max(r.last) as last,
        max(case b.strategy when 'least_recently_used' then r.ended_at end) as since
      from (
        select *, count(*) filter (where is_start) over w as number
        from (
          select *, coalesce(lag(last) over w + 1 <> first, true) as is_start
          from (
            select h.block_id, h.ended_at, first_of(h.address) as first, last_of(h.address) as last
            from allocation_history h where h.id = any (gone)
          ) ended
          window w as (partition by block_id order by first)
        ) neighbours
        window w as (partition by block_id order by first)
      ) r join blocks b on b.id = r.block_id
      group by r.block_id, r.number
    loop
      perform give_range(run.block_id, run.first, run.last, run.since);
    end loop;
    perform lock_events();
    insert into events (seq, type, object_id, project_id, data)
    select nextval('event_seq'), 'allocation.released', h.id, h.project_id, allocation_document(h)
    from allocation_history h where h.id = any (gone);
  end if;

  return query
    select r.request, case when refusal is null then allocation_document(h) end, refusal
    from unnest(requests) r
      left join allocation_history h on h.id = r.id
      left join allocations a on a.id = r.id,
      lateral (select case
        when h.id is null and a.id is null then 'allocation_not_found'
        when h.id is null or h.generation <> r.generation + 1 then 'generation_mismatch'
      end) as outcome (refusal);
end $$;
