-- I9: events get their numbers under one lock, held until the transaction has ended. So a reader
-- that sees number n sees every event before n, and an object's states follow each other. It is
-- the last lock that a transaction takes.
create or replace function lock_events() returns void language sql as $$
  select pg_advisory_xact_lock(7809644627822473829) -- "lmevents", any constant would do.
$$;

create or replace function append_events(new_events jsonb) returns void language plpgsql as $$
begin
  perform lock_events();
  insert into events (seq, type, object_id, project_id, owner_id, data)
  select nextval('event_seq'), e.type, e.object_id, e.project_id, e.data ->> 'owner_id', e.data
  from rows from (
    jsonb_to_recordset(new_events) as (type text, object_id uuid, project_id text, data json)
  ) with ordinality as e (type, object_id, project_id, data, position)
  order by position;
end $$;

-- A time with its microseconds, as RFC 3339 has it.
create or replace function iso_time(at timestamptz) returns text
language sql stable as $$
  select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- An allocation as the API and the events show it. It is written with every change, and to put the
-- text together takes two thirds of what json_build_object does.
create or replace function allocation_document(a allocations) returns json
language sql stable as $$
  select concat('{"id":"', a.id, '","scope_id":"', a.scope_id, '","block_id":"', a.block_id,
    '","address":"', a.address, '","project_id":', to_json(a.project_id),
    ',"owner_type":', coalesce(to_json(a.owner_type), 'null'),
    ',"owner_id":', coalesce(to_json(a.owner_id), 'null'),
    ',"name":', to_json(a.name), ',"tags":', to_json(a.tags), ',"generation":', a.generation,
    ',"started_at":"', iso_time(a.started_at),
    '","expires_at":', coalesce('"' || iso_time(a.expires_at) || '"', 'null'),
    ',"ended_at":null,"quarantined_until":null}')::json
$$;

create or replace function allocation_document(h allocation_history) returns json
language sql stable as $$
  select concat('{"id":"', h.id, '","scope_id":"', h.scope_id, '","block_id":"', h.block_id,
    '","address":"', h.address, '","project_id":', to_json(h.project_id),
    ',"owner_type":', coalesce(to_json(h.owner_type), 'null'),
    ',"owner_id":', coalesce(to_json(h.owner_id), 'null'),
    ',"name":', to_json(h.name), ',"tags":', to_json(h.tags), ',"generation":', h.generation,
    ',"started_at":"', iso_time(h.started_at),
    '","expires_at":', coalesce('"' || iso_time(h.expires_at) || '"', 'null'),
    ',"ended_at":"', iso_time(h.ended_at),
    '","quarantined_until":', coalesce('"' || iso_time(h.quarantined_until) || '"', 'null'),
    '}')::json
$$;

-- Who does something to one thing of a batch, which many callers share. Without a caller it is
-- whoever the transaction is of.
do $$ begin
  if to_regtype('doer') is null then
    create type doer as (
      object_id uuid, caller_id bigint, request_id uuid, global_request_id uuid);
  end if;
end $$;

-- The event of each allocation that began, and of each that ended; the documents of the latter are
-- the answer. The plans of PL/pgSQL are kept.
drop function if exists append_started(allocations[]);
create or replace function append_started(started allocations[], doers doer[]) returns void
language plpgsql as $$
begin
  insert into events (seq, type, object_id, project_id, owner_id, data, caller_id, request_id,
    global_request_id)
  select nextval('event_seq'), 'allocation.created', a.id, a.project_id, a.owner_id,
    allocation_document(a), coalesce(d.caller_id, done_by(1)::bigint),
    coalesce(d.request_id, done_by(2)::uuid), coalesce(d.global_request_id, done_by(3)::uuid)
  from unnest(started) a left join unnest(doers) d on d.object_id = a.id;
end $$;

-- What expires does so by itself, in whoever's transaction that is seen.
drop function if exists append_ended(uuid[]);
create or replace function append_ended(ids uuid[], doers doer[])
returns table (id uuid, document json)
language plpgsql as $$
begin
  return query
    insert into events (seq, type, object_id, project_id, owner_id, data, caller_id, request_id,
      global_request_id)
    select nextval('event_seq'),
      case when h.expires_at <= h.ended_at then 'allocation.expired' else 'allocation.released' end,
      h.id, h.project_id, h.owner_id, allocation_document(h), w.caller_id, w.request_id,
      w.global_request_id
    from allocation_history h
      left join unnest(doers) d on d.object_id = h.id
      left join lateral (
        select coalesce(d.caller_id, done_by(1)::bigint) as caller_id,
          coalesce(d.request_id, done_by(2)::uuid) as request_id,
          coalesce(d.global_request_id, done_by(3)::uuid) as global_request_id
      ) w on (h.expires_at <= h.ended_at) is not true
    where h.id = any (ids)
    returning object_id, data;
end $$;

-- The event of what ended, or was let go, because allocations ended: whoever ended those did it.
-- If none of them has ended it is whoever the transaction is of.
create or replace function append_consequence(new_event jsonb, of_end_of uuid[]) returns void
language plpgsql as $$
declare
  cause events;
begin
  select * into cause from events e
  where e.object_id = any (of_end_of) and e.type in ('allocation.released', 'allocation.expired')
  order by e.seq desc limit 1;
  if cause.seq is null then
    perform append_events(jsonb_build_array(new_event));
    return;
  end if;
  perform lock_events();
  insert into events (seq, type, object_id, project_id, owner_id, data, caller_id, request_id,
    global_request_id)
  values (nextval('event_seq'), new_event ->> 'type', (new_event ->> 'object_id')::uuid,
    new_event ->> 'project_id', new_event -> 'data' ->> 'owner_id', new_event -> 'data',
    cause.caller_id, cause.request_id, cause.global_request_id);
end $$;
