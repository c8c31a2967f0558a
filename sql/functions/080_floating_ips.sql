-- I14: what a floating IP points at, and since when. Whoever changes it holds the floating IP
-- (`lock_floating_ip`) and the blocks of the allocations on both sides; who ends one of these holds
-- its block.

-- Locks the blocks of allocations that are current, with others if there are any, and answers a
-- time that no earlier change of them bears. All of them bear it from here on.
create or replace function lock_allocations(ids uuid[], more_blocks uuid[] default '{}')
returns timestamptz language plpgsql as $$
declare
  locked uuid[];
  at timestamptz;
begin
  select array_agg(l.block_id), max(l.changed_at) into locked, at
  from lock_blocks(array(select a.block_id from allocations a where a.id = any (ids))
    || more_blocks) l;
  update block_usage u set changed_at = at where u.block_id = any (locked) and u.changed_at < at;
  return at;
end $$;

-- Changes of one floating IP follow each other: whoever changes one waits here, before it has
-- locked a block. Answers whether there is one.
create or replace function hold_floating_ip(wanted uuid) returns boolean language plpgsql as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('floating_ip/' || wanted, 2));
  return exists (select from floating_ips f where f.id = wanted);
end $$;

-- The same, with the blocks of what it is, points at, and is to point at. What it points at can
-- only end meanwhile.
create or replace function lock_floating_ip(wanted uuid, target uuid) returns void
language plpgsql as $$
begin
  if hold_floating_ip(wanted) then
    perform lock_allocations(array[f.allocation_id, f.private_allocation_id, target])
    from floating_ips f where f.id = wanted;
  end if;
end $$;

-- For one that is to be taken of a block or a network and to point at an allocation: the blocks of
-- both sides, in their order, and the row of the target, which the event lock of the allocation
-- would come before.
create or replace function lock_floating_places(block uuid, network uuid, target uuid)
returns void language plpgsql as $$
begin
  perform lock_allocations(array[target], array(
    select b.id from blocks b join block_usage u on u.block_id = b.id
    where (b.id = block or b.network_id = network) and u.in_children = 0));
  perform from allocations a where a.id = target for key share;
end $$;

-- When a floating IP begins to point at an allocation (or nowhere), whose blocks are locked: not
-- before the end of what was before, on both sides.
create or replace function association_time(wanted uuid, allocation uuid, target uuid)
returns timestamptz language plpgsql as $$
declare
  at timestamptz;
begin
  select greatest(wall_time(),
    (select max(u.changed_at) from block_usage u where u.block_id in (
      select a.block_id from allocations a where a.id in (allocation, target))),
    (select greatest(s.started_at + interval '1 microsecond', s.ended_at)
      from floating_ip_associations s where s.floating_ip_id = wanted
      order by s.started_at desc limit 1),
    (select greatest(s.started_at + interval '1 microsecond', s.ended_at)
      from floating_ip_associations s where s.private_allocation_id = target
      order by s.started_at desc limit 1),
    (select f.since from floating_ips f where f.id = wanted)) into at;
  -- Both allocations end after it began.
  update block_usage u set changed_at = at
  where u.changed_at < at and u.block_id in (
    select a.block_id from allocations a where a.id in (allocation, target));
  return at;
end $$;

create or replace function floating_ip_document(f floating_ips) returns json
language sql stable as $$
  select json_build_object('id', f.id, 'project_id', f.project_id, 'name', f.name,
    'description', f.description, 'tags', f.tags, 'allocation_id', f.allocation_id,
    'address', host(f.address), 'private_allocation_id', f.private_allocation_id,
    'private_address', host(f.private_address),
    'associated_at', case when f.private_allocation_id is not null then iso_time(f.since) end,
    'generation', f.generation, 'created_at', iso_time(f.created_at),
    'updated_at', iso_time(f.updated_at))
$$;

-- What a floating IP is and points at are current allocations of single addresses, of one IP
-- version; their addresses are copied.
create or replace function check_floating_ip() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' or new.allocation_id <> old.allocation_id then
    select a.address, a.scope_id, a.project_id into new.address, new.scope_id, new.project_id
    from allocations a where a.id = new.allocation_id and not a.is_prefix for key share;
    if not found then
      raise exception using errcode = 'IP409', constraint = 'allocation_ended',
        message = 'A floating IP is a current allocation.';
    end if;
  end if;
  new.private_address := null;
  if new.private_allocation_id is not null then
    select a.address into new.private_address
    from allocations a
    where a.id = new.private_allocation_id and not a.is_prefix and a.scope_id <> new.scope_id
      and family(a.address) = family(new.address)
    for key share;
    if not found then
      raise exception using errcode = 'IP409', constraint = 'private_allocation_unfit',
        message = 'A floating IP points at a current private allocation.';
    end if;
  end if;
  return new;
end $$;

create or replace trigger check_floating_ip
before insert or update of allocation_id, private_allocation_id on floating_ips
for each row execute function check_floating_ip();

-- Keeps the history and the counts, whatever statement changes the table. A move ends the one and
-- begins the next at the same instant.
create or replace function record_floating_ip() returns trigger language plpgsql as $$
begin
  if tg_op <> 'INSERT' and old.private_allocation_id is not null and (tg_op = 'DELETE'
    or old.private_allocation_id is distinct from new.private_allocation_id)
  then
    update floating_ip_associations s
    set ended_at = greatest(s.started_at,
      case tg_op when 'UPDATE' then new.since else wall_time() end)
    where s.floating_ip_id = old.id and s.ended_at is null;
  end if;
  if tg_op <> 'DELETE' and new.private_allocation_id is not null and (tg_op = 'INSERT'
    or old.private_allocation_id is distinct from new.private_allocation_id)
  then
    insert into floating_ip_associations (id, floating_ip_id, project_id, allocation_id, address,
      private_allocation_id, private_address, started_at)
    values (gen_random_uuid(), new.id, new.project_id, new.allocation_id, new.address,
      new.private_allocation_id, new.private_address, new.since);
  end if;
  if tg_op <> 'UPDATE' then
    perform lock_project_usage(array[coalesce(new.project_id, old.project_id)],
      array[coalesce(new.scope_id, old.scope_id)]);
    update project_usage u
    set floating_ips = u.floating_ips + case tg_op when 'INSERT' then 1 else -1 end
    where u.project_id = coalesce(new.project_id, old.project_id)
      and (u.scope_id is null or u.scope_id = coalesce(new.scope_id, old.scope_id));
  end if;
  return null;
end $$;

create or replace trigger record_floating_ip
after insert or delete or update of private_allocation_id on floating_ips
for each row execute function record_floating_ip();

-- Writes the event of each change at the end of the transaction, so that the lock of the events
-- is the last one also where allocations end in one statement after the other.
create or replace function tell_floating_ip() returns trigger language plpgsql as $$
declare
  type text;
  told floating_ips;
begin
  if tg_op = 'DELETE' then
    type := 'deleted';
    told := old;
  else
    told := new;
    type := case when tg_op = 'INSERT' then 'created'
      when new.private_allocation_id is not distinct from old.private_allocation_id then 'updated'
      when new.private_allocation_id is null then 'disassociated'
      when old.private_allocation_id is null then 'associated'
      else 'moved' end;
  end if;
  perform append_consequence(jsonb_build_object('type', 'floating_ip.' || type,
    'object_id', told.id, 'project_id', told.project_id, 'data', floating_ip_document(told)),
    case when type in ('deleted', 'disassociated')
      then array[old.allocation_id, old.private_allocation_id] else '{}' end);
  return null;
end $$;

do $$ begin
  if not exists (select from pg_trigger
    where tgname = 'tell_floating_ip' and tgrelid = 'floating_ips'::regclass) then
    create constraint trigger tell_floating_ip after insert or update or delete on floating_ips
    deferrable initially deferred for each row execute function tell_floating_ip();
  end if;
end $$;

-- Why a project may not have so many more floating IPs in a scope; null if it may. What it uses is
-- locked by whoever asks, which has taken the allocations already.
create or replace function floating_ips_over_quota(project text, scope uuid, more bigint)
returns text language plpgsql as $$
begin
  if not hold_quotas() then
    return null;
  end if;
  perform lock_project_usage(array[project], array[scope]);
  return (
    select format('Project %s has %s of %s floating IPs%s, and asked for %s more.', project,
      u.floating_ips, l.most, ' in the address scope ' || s.name, more)
    from project_usage u left join address_scopes s on s.id = u.scope_id
      left join quotas own
        on own.project_id = u.project_id and own.scope_id is not distinct from u.scope_id
      left join quotas common
        on common.project_id is null and common.scope_id is not distinct from u.scope_id,
      lateral (select coalesce(own.floating_ips, common.floating_ips)) l (most)
    where u.project_id = project and (u.scope_id is null or u.scope_id = scope)
      and u.floating_ips + more > l.most
    order by u.scope_id nulls last limit 1);
end $$;
