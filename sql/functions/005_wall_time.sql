-- The one clock of the database's own decisions. Tests put their own in its place.
create or replace function wall_time() returns timestamptz language sql volatile as $$
  select clock_timestamp()
$$;
