-- Triggers that keep block_usage and project_usage true whatever statement changes the tables.

-- The IPv6 /64s that a delegated prefix is.
create or replace function ipv6_64s(prefix inet) returns numeric
language sql immutable strict parallel safe as $$
  select case when family(prefix) = 6 and masklen(prefix) <= 64
    then power(2::numeric, 64 - masklen(prefix))::numeric(20, 0) else 0 end
$$;

create or replace function block_usage_of_blocks() returns trigger language plpgsql as $$
begin
  if tg_op <> 'INSERT' and old.parent_id is not null then
    update block_usage set in_children = in_children - address_count(old.cidr)
    where block_id = old.parent_id;
  end if;
  if tg_op <> 'DELETE' and new.parent_id is not null then
    update block_usage set in_children = in_children + address_count(new.cidr)
    where block_id = new.parent_id;
  end if;
  if tg_op = 'INSERT' then
    -- A block that is put above others has them as children from the start.
    -- I4: whoever gets an address here begins behind the end of whoever had it in the block above
    -- or in one that is gone, also when the clock was set back.
    insert into block_usage (block_id, total, in_children, changed_at)
    values (new.id, address_count(new.cidr),
      coalesce((select sum(address_count(b.cidr)) from blocks b where b.parent_id = new.id), 0),
      greatest(clock_timestamp(),
        (select s.latest_at from address_scopes s where s.id = new.scope_id),
        (select u.changed_at from block_usage u where u.block_id = new.parent_id)));
  elsif tg_op = 'UPDATE' then
    update block_usage set total = address_count(new.cidr) where block_id = new.id;
  end if;
  return null;
end $$;

create or replace trigger block_usage_of_blocks
after insert or delete or update of cidr, parent_id on blocks
for each row execute function block_usage_of_blocks();

-- Locks what projects use in a scope and in all, row for row in the order of the key: all that a
-- transaction will change of it, before it changes any.
create or replace function lock_project_usage(projects text[], scopes uuid[]) returns void
language plpgsql as $$ -- Not sql, of which every call would be planned.
begin
  insert into project_usage as u (project_id, scope_id)
  select p.project_id, p.scope_id from unnest(projects, scopes) p (project_id, scope_id)
  where p.project_id is not null
  union
  select p.project_id, null from unnest(projects) p (project_id) where p.project_id is not null
  order by project_id, scope_id nulls first
  -- What is there is locked, and stays as it is.
  on conflict (project_id, scope_id) do update set blocks = u.blocks where false;
end $$;

create or replace function project_usage_of_blocks() returns trigger language plpgsql as $$
begin
  perform lock_project_usage(
    array[old.project_id, new.project_id], array[old.scope_id, new.scope_id]);
  update project_usage u set blocks = u.blocks - 1
  where u.project_id = old.project_id and (u.scope_id is null or u.scope_id = old.scope_id);
  update project_usage u set blocks = u.blocks + 1
  where u.project_id = new.project_id and (u.scope_id is null or u.scope_id = new.scope_id);
  return null;
end $$;

create or replace trigger project_usage_of_blocks
after insert or delete or update of project_id, scope_id on blocks
for each row execute function project_usage_of_blocks();

-- A block goes only when nothing is in it, and leaves its time behind.
create or replace function keep_used_blocks() returns trigger language plpgsql as $$
declare
  usage block_usage;
begin
  select * into usage from block_usage u where u.block_id = old.id;
  if usage.allocated + usage.held + usage.quarantined + usage.in_children > 0 then
    raise exception using errcode = 'IP409', constraint = 'block_in_use',
      message = 'The block still holds allocations or children.';
  end if;
  update block_usage u set changed_at = greatest(u.changed_at, usage.changed_at)
  where u.block_id = old.parent_id;
  update address_scopes s set latest_at = greatest(s.latest_at, usage.changed_at)
  where s.id = old.scope_id;
  return old;
end $$;

create or replace trigger keep_used_blocks
before delete on blocks for each row execute function keep_used_blocks();

create or replace function block_usage_of_allocations() returns trigger language plpgsql as $$
declare
  known int;
  named int;
  granted int;
begin
  with added as (
    select a.block_id, count(a.grant_id) as granted,
      bool_and(a.address <<= b.cidr and a.scope_id = b.scope_id) as fits,
      count(*) filter (where not a.is_prefix and a.expires_at is null)
        + coalesce(sum(address_count(a.address))
          filter (where a.is_prefix and a.expires_at is null), 0) as allocated,
      coalesce(sum(address_count(a.address)) filter (where a.expires_at is not null), 0) as held
    from added_allocations a left join blocks b on b.id = a.block_id
    group by a.block_id
  ), counted as (
    update block_usage u
    set allocated = u.allocated + added.allocated, held = u.held + added.held
    from added where u.block_id = added.block_id and added.fits
    returning 1
  )
  select (select count(*) from counted), count(*), sum(added.granted) from added
  into known, named, granted;
  if known <> named then
    raise exception using errcode = 'IP409', constraint = 'address_outside_block',
      message = 'An allocation lies outside its block.';
  end if;

  insert into project_usage as u (project_id, scope_id, allocations, ipv6_64s)
  select a.project_id, a.scope_id, count(*),
    coalesce(sum(ipv6_64s(a.address)) filter (where a.is_prefix), 0)
  from added_allocations a
  group by grouping sets ((a.project_id, a.scope_id), (a.project_id))
  order by a.project_id, a.scope_id nulls first
  on conflict (project_id, scope_id) do update
  set allocations = u.allocations + excluded.allocations, ipv6_64s = u.ipv6_64s + excluded.ipv6_64s;
  if granted > 0 then
    perform count_under_grants(
      array_agg(a.grant_id), array_agg(a.project_id), array_agg(a.address), 1)
    from added_allocations a where a.grant_id is not null;
  end if;
  return null;
end $$;

create or replace trigger block_usage_of_allocations
after insert on allocations referencing new table as added_allocations
for each statement execute function block_usage_of_allocations();

-- How long an address waits after its end: as long as the rules say, and after a hold that lapsed
-- a minute at least, for its holder may be about to find out. A transaction that ends allocations
-- whose addresses others use sets for itself how many seconds that is at least.
create or replace function quarantine_of(block blocks, has_lapsed boolean) returns interval
language sql immutable as $$
  select make_interval(secs => greatest(
    block.quarantine_seconds, case when has_lapsed then 60 else 0 end))
$$;

-- I4, I6: whoever deletes an allocation ends it, and what its policy says waits in quarantine.
create or replace function end_allocations() returns trigger language plpgsql as $$
declare
  least_wait interval := make_interval(
    secs => coalesce(nullif(current_setting('melange.quarantine_seconds', true), ''), '0')::bigint);
begin
  with ended as (
    insert into allocation_history (id, scope_id, block_id, address, project_id, owner_type,
      owner_id, name, tags, generation, started_at, is_prefix, expires_at, grant_id, ended_at,
      quarantined_until)
    select a.id, a.scope_id, a.block_id, a.address, a.project_id, a.owner_type,
      a.owner_id, a.name, a.tags, a.generation + 1, a.started_at, a.is_prefix, a.expires_at,
      a.grant_id, e.ended_at,
      nullif(e.ended_at + greatest(least_wait,
        quarantine_of(b, coalesce(a.expires_at <= e.ended_at, false))), e.ended_at)
    from ended_allocations a
      join blocks b on b.id = a.block_id
      join block_usage u on u.block_id = a.block_id,
      lateral (select greatest(u.changed_at, a.started_at) as ended_at) e
    returning *
  ), waiting as (
    insert into quarantine (allocation_id, scope_id, block_id, address, ended_at,
      quarantined_until)
    select id, scope_id, block_id, address, ended_at, quarantined_until from ended
    where quarantined_until is not null
  )
  update block_usage u
  set allocated = allocated - sums.was_allocated, held = held - sums.was_held,
    quarantined = quarantined + sums.waiting
  from (
    select block_id,
      coalesce(sum(size) filter (where expires_at is null), 0) as was_allocated,
      coalesce(sum(size) filter (where expires_at is not null), 0) as was_held,
      coalesce(sum(size) filter (where quarantined_until is not null), 0) as waiting
    from ended,
      lateral (select case when is_prefix then address_count(address) else 1 end) s (size)
    group by block_id
  ) sums
  where u.block_id = sums.block_id;

  -- There is a row for whoever has something, so that all of them conflict.
  insert into project_usage as u (project_id, scope_id, allocations, ipv6_64s)
  select a.project_id, a.scope_id, count(*),
    coalesce(sum(ipv6_64s(a.address)) filter (where a.is_prefix), 0)
  from ended_allocations a
  group by grouping sets ((a.project_id, a.scope_id), (a.project_id))
  order by a.project_id, a.scope_id nulls first
  on conflict (project_id, scope_id) do update
  set allocations = u.allocations - excluded.allocations, ipv6_64s = u.ipv6_64s - excluded.ipv6_64s;
  if exists (select from ended_allocations a where a.grant_id is not null) then
    perform count_under_grants(
      array_agg(a.grant_id), array_agg(a.project_id), array_agg(a.address), -1)
    from ended_allocations a where a.grant_id is not null;
  end if;
  return null;
end $$;

create or replace trigger end_allocations
after delete on allocations referencing old table as ended_allocations
for each statement execute function end_allocations();

-- A hold that is confirmed is counted as allocated.
create or replace function block_usage_of_holds() returns trigger language plpgsql as $$
begin
  update block_usage u
  set held = held + changed.size, allocated = allocated - changed.size
  from (
    select n.block_id, sum(address_count(n.address)
      * ((n.expires_at is not null)::int - (o.expires_at is not null)::int)) as size
    from new_allocations n join old_allocations o on o.id = n.id
    where (n.expires_at is null) <> (o.expires_at is null)
    group by n.block_id
  ) changed
  where u.block_id = changed.block_id and changed.size <> 0;
  return null;
end $$;

create or replace trigger block_usage_of_holds
after update on allocations
referencing old table as old_allocations new table as new_allocations
for each statement execute function block_usage_of_holds();

create or replace function keep_address() returns trigger language plpgsql as $$
begin
  raise exception 'An allocation keeps its address: end it and begin another.';
end $$;

create or replace trigger keep_address
before update of id, scope_id, block_id, address, project_id, started_at, grant_id on allocations
for each row execute function keep_address();

-- What waits in quarantine is counted, whoever puts it there or takes it out; what an allocation
-- leaves behind has been counted at its end.
create or replace function block_usage_of_quarantine() returns trigger language plpgsql as $$
begin
  update block_usage u set quarantined = quarantined - gone.size
  from (
    select block_id, sum(address_count(address)) as size from gone_addresses group by block_id
  ) gone
  where u.block_id = gone.block_id;
  return null;
end $$;

create or replace trigger block_usage_of_quarantine
after delete on quarantine referencing old table as gone_addresses
for each statement execute function block_usage_of_quarantine();

-- Locks blocks in the order of their ids, so that no two transactions wait for each other, and
-- gives each a time that no earlier change of it bears. A block that is gone is left out.
create or replace function lock_blocks(ids uuid[]) returns setof block_usage
language plpgsql as $$
declare
  wanted uuid;
begin
  for wanted in select distinct id from unnest(ids) id order by id loop
    return query
      update block_usage u
      set changed_at = greatest(wall_time(), u.changed_at + interval '1 microsecond')
      where u.block_id = wanted returning u.*;
  end loop;
end $$;
