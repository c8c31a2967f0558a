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

-- The event of each allocation that began, and of each that ended; the documents of the latter are
-- the answer. The plans of PL/pgSQL are kept.
create or replace function append_started(started allocations[]) returns void
language plpgsql as $$
begin
  insert into events (seq, type, object_id, project_id, owner_id, data)
  select nextval('event_seq'), 'allocation.created', a.id, a.project_id, a.owner_id,
    allocation_document(a)
  from unnest(started) a;
end $$;

create or replace function append_ended(ids uuid[]) returns table (id uuid, document json)
language plpgsql as $$
begin
  return query
    insert into events (seq, type, object_id, project_id, owner_id, data)
    select nextval('event_seq'),
      case when h.expires_at <= h.ended_at then 'allocation.expired' else 'allocation.released' end,
      h.id, h.project_id, h.owner_id, allocation_document(h)
    from allocation_history h where h.id = any (ids)
    returning object_id, data;
end $$;
