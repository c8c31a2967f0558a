-- Triggers that keep block_usage true whatever statement changes the tables.

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
    insert into block_usage (block_id, total, in_children)
    values (new.id, address_count(new.cidr), coalesce(
      (select sum(address_count(b.cidr)) from blocks b where b.parent_id = new.id), 0));
  elsif tg_op = 'UPDATE' then
    update block_usage set total = address_count(new.cidr) where block_id = new.id;
  end if;
  return null;
end $$;

create or replace trigger block_usage_of_blocks
after insert or delete or update of cidr, parent_id on blocks
for each row execute function block_usage_of_blocks();

-- A block goes only when nothing is in it.
create or replace function keep_used_blocks() returns trigger language plpgsql as $$
begin
  if exists (
    select from block_usage
    where block_id = old.id and allocated + held + quarantined + in_children > 0
  ) then
    raise exception using errcode = 'IP409', constraint = 'block_in_use',
      message = 'The block still holds allocations or children.';
  end if;
  return old;
end $$;

create or replace trigger keep_used_blocks
before delete on blocks for each row execute function keep_used_blocks();

create or replace function block_usage_of_allocations() returns trigger language plpgsql as $$
declare
  known int;
  named int;
begin
  with added as (
    select a.block_id, bool_and(a.address <<= b.cidr and a.scope_id = b.scope_id) as fits,
      count(*) filter (where not a.is_prefix)
        + coalesce(sum(address_count(a.address)) filter (where a.is_prefix), 0) as addresses
    from added_allocations a left join blocks b on b.id = a.block_id
    group by a.block_id
  ), counted as (
    update block_usage u set allocated = allocated + addresses
    from added where u.block_id = added.block_id and added.fits
    returning 1
  )
  select (select count(*) from counted), (select count(*) from added) into known, named;
  if known <> named then
    raise exception using errcode = 'IP409', constraint = 'address_outside_block',
      message = 'An allocation lies outside its block.';
  end if;
  return null;
end $$;

create or replace trigger block_usage_of_allocations
after insert on allocations referencing new table as added_allocations
for each statement execute function block_usage_of_allocations();

-- I4: whoever deletes an allocation ends it.
create or replace function end_allocations() returns trigger language plpgsql as $$
begin
  update block_usage u set allocated = allocated - addresses
  from (
    select block_id, count(*) filter (where not is_prefix)
      + coalesce(sum(address_count(address)) filter (where is_prefix), 0) as addresses
    from ended_allocations group by block_id
  ) ended
  where u.block_id = ended.block_id;
  insert into allocation_history (id, scope_id, block_id, address, project_id, owner_type,
    owner_id, name, tags, generation, started_at, is_prefix, ended_at)
  select a.id, a.scope_id, a.block_id, a.address, a.project_id, a.owner_type,
    a.owner_id, a.name, a.tags, a.generation + 1, a.started_at, a.is_prefix,
    greatest(u.changed_at, a.started_at)
  from ended_allocations a join block_usage u on u.block_id = a.block_id;
  return null;
end $$;

create or replace trigger end_allocations
after delete on allocations referencing old table as ended_allocations
for each statement execute function end_allocations();

create or replace function keep_address() returns trigger language plpgsql as $$
begin
  raise exception 'An allocation keeps its address: end it and begin another.';
end $$;

create or replace trigger keep_address
before update of id, scope_id, block_id, address, started_at on allocations
for each row execute function keep_address();

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
      set changed_at = greatest(clock_timestamp(), u.changed_at + interval '1 microsecond')
      where u.block_id = wanted returning u.*;
  end loop;
end $$;
