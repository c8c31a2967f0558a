-- I9: events get their numbers under one lock, held until the transaction has ended. So a reader
-- that sees number n sees every event before n, and an object's states follow each other. It is
-- the last lock that a transaction takes.
create or replace function lock_events() returns void language sql as $$
  select pg_advisory_xact_lock(7809644627822473829) -- "lmevents", any constant would do.
$$;

create or replace function append_events(new_events jsonb) returns void language plpgsql as $$
begin
  perform lock_events();
  insert into events (seq, type, object_id, project_id, data)
  select nextval('event_seq'), e.type, e.object_id, e.project_id, e.data
  from rows from (
    jsonb_to_recordset(new_events) as (type text, object_id uuid, project_id text, data json)
  ) with ordinality as e (type, object_id, project_id, data, position)
  order by position;
end $$;
