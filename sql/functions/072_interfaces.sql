-- Interfaces of projects are counted, whatever statement changes them.
create or replace function project_usage_of_interfaces() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    insert into project_usage as u (project_id, scope_id, interfaces)
    values (new.project_id, null, 1)
    on conflict (project_id, scope_id) do update set interfaces = u.interfaces + 1;
  else
    update project_usage u set interfaces = u.interfaces - 1
    where u.project_id = old.project_id and u.scope_id is null;
  end if;
  return null;
end $$;

create or replace trigger project_usage_of_interfaces
after insert or delete on interfaces for each row execute function project_usage_of_interfaces();

-- Where an interface was is kept, when it goes and when it comes to another device.
create or replace function keep_interface_history() returns trigger language plpgsql as $$
declare
  -- No two periods of an interface begin at the same time.
  at timestamptz := greatest(wall_time(), old.attached_at + interval '1 microsecond');
begin
  insert into interface_history (interface_id, device_id, project_id, network_id, name, mac,
    started_at, ended_at)
  values (old.id, old.device_id, old.project_id, old.network_id, old.name,
    (select m.mac from macs m where m.interface_id = old.id), old.attached_at, at);
  if tg_op = 'DELETE' then
    return old;
  end if;
  new.attached_at := at;
  return new;
end $$;

create or replace trigger keep_interface_history
before delete on interfaces for each row execute function keep_interface_history();
create or replace trigger keep_interface_device
before update of device_id on interfaces for each row
when (old.device_id is distinct from new.device_id) execute function keep_interface_history();

create or replace function keep_interface() returns trigger language plpgsql as $$
begin
  raise exception 'An interface keeps its project and its network.';
end $$;

create or replace trigger keep_interface
before update of id, project_id, network_id on interfaces
for each row execute function keep_interface();

-- The blocks that may give an interface addresses of these IP versions, and those in which these
-- addresses lie.
create or replace function interface_blocks(network uuid, versions int[], addresses inet[])
returns uuid[] language plpgsql stable as $$
begin
  return array(
    select s.id
    from unnest(versions) v, unnest(subnets_in_order(network, v, '{}', '', 1))
      with ordinality s (id, n)
    where s.n <= subnets_max()
    union
    select b.id from blocks b join unnest(addresses) a on b.cidr >>= a
    where b.network_id = network);
end $$;

-- Locks what an operation on interfaces of a project will change, in the order that all keep: the
-- blocks, then what projects use. Answers why the project may not have so many interfaces more.
create or replace function lock_for_interfaces(block_ids uuid[], project text, more int)
returns text language plpgsql as $$
declare
  usages block_usage[] := array(select u from lock_blocks(block_ids) u);
begin
  perform hold_quotas();
  perform lock_project_usage(array_agg(p.project_id), array_agg(p.scope_id))
  from (
    select h.project_id, h.scope_id from lapsed_holds(usages, 1000) h
    union
    select project, b.scope_id from unnest(usages) u join blocks b on b.id = u.block_id
    union
    select project, null::uuid
  ) p;
  return (
    select format('Project %s has %s of %s interfaces, and asked for %s more.', project,
      u.interfaces, q.most, more)
    from project_usage u, lateral (
      select coalesce(
        (select own.interfaces from quotas own
          where own.project_id = project and own.scope_id is null),
        (select common.interfaces from quotas common
          where common.project_id is null and common.scope_id is null)) as most) q
    where more > 0 and u.project_id = project and u.scope_id is null
      and u.interfaces + more > q.most);
end $$;

-- Locks the interfaces of a project's device, for one who replaces them at a time; before all other
-- locks. Answers them: what comes to the device later is not locked, and not replaced.
create or replace function lock_device(project text, device text) returns uuid[]
language plpgsql as $$
begin
  perform pg_advisory_xact_lock(hashtextextended(project || '/' || device, 2));
  return array(
    select i.id from interfaces i where i.device_id = device and i.project_id = project
    order by i.id for no key update);
end $$;

-- The same for all that an operation on interfaces will change, after the interfaces: the networks
-- and blocks from which addresses are taken (a JSON array of network_id, families and addresses),
-- the blocks of the allocations that are released or have to stay, what the project uses. Answers a
-- network that is not there, or why the project may not have so many interfaces more.
create or replace function lock_interface_space(
  project text, more int, taking jsonb, held uuid[], out missing uuid, out refusal text)
language plpgsql as $$
declare
  networks uuid[];
  block_ids uuid[];
begin
  networks := array(
    select n.id from networks n
    where n.id in (select t.network_id from jsonb_to_recordset(taking) t (network_id uuid))
    order by n.id for key share);
  missing := (
    select t.network_id from jsonb_to_recordset(taking) t (network_id uuid)
    where t.network_id is not null and t.network_id <> all (networks) limit 1);
  if missing is not null then
    return;
  end if;
  block_ids := array(
    select b.id
    from jsonb_to_recordset(taking) t (network_id uuid, families int[], addresses inet[]),
      unnest(interface_blocks(t.network_id, t.families, t.addresses)) b (id)
    union
    select a.block_id from allocations a where a.id = any (held));
  refusal := lock_for_interfaces(block_ids, project, more);
end $$;

-- Creates interfaces of a device: a JSON array of id, network_id, name and tags. Answers those ids
-- that were not taken already.
create or replace function insert_interfaces(project text, device text, wanted jsonb)
returns uuid[] language plpgsql as $$
declare
  inserted uuid[];
begin
  with added as (
    insert into interfaces as i (id, device_id, project_id, network_id, name, tags, attached_at)
    select w.id, device, project, w.network_id, w.name, w.tags, wall_time()
    from jsonb_to_recordset(wanted) w (id uuid, network_id uuid, name text, tags text[])
    order by w.id
    on conflict (id) do nothing returning i.id
  )
  select coalesce(array_agg(a.id), '{}') into inserted from added a;
  -- An id that comes back begins behind its end, which is known now that nobody else has it.
  update interfaces i set attached_at = h.until
  from (
    select h.interface_id, max(h.ended_at) as until from interface_history h
    where h.interface_id = any (inserted) group by h.interface_id
  ) h
  where i.id = h.interface_id and i.attached_at < h.until;
  return inserted;
end $$;

-- Whoever changes who may use addresses of a network waits here, so that they follow each other.
create or replace function lock_allowed_addresses(network uuid) returns void
language plpgsql as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('allowed_addresses/' || network, 2));
end $$;

-- Since when an interface has its role is not before others had to give the address up.
create or replace function begin_allowed_address() returns trigger language plpgsql as $$
begin
  perform lock_allowed_addresses(new.network_id);
  new.role_since := greatest(wall_time(), (
    select max(h.ended_at) from allowed_address_history h
    where h.network_id = new.network_id and h.address && new.address));
  if tg_op = 'UPDATE' then
    new.role_since := greatest(new.role_since, old.role_since + interval '1 microsecond');
  end if;
  return new;
end $$;

create or replace trigger begin_allowed_address
before insert on allowed_addresses for each row execute function begin_allowed_address();
create or replace trigger change_allowed_address
before update of role on allowed_addresses for each row
when (old.role is distinct from new.role) execute function begin_allowed_address();

-- Who may use an address, and in which role, is kept when it ends.
create or replace function keep_allowed_address() returns trigger language plpgsql as $$
declare
  at timestamptz;
begin
  if tg_op = 'UPDATE' then
    at := new.role_since;
  else
    perform lock_allowed_addresses(old.network_id);
    at := greatest(wall_time(), old.role_since + interval '1 microsecond');
  end if;
  insert into allowed_address_history (allowed_address_id, interface_id, network_id, project_id,
    address, role, started_at, ended_at)
  values (old.id, old.interface_id, old.network_id, old.project_id, old.address, old.role,
    old.role_since, at);
  return null;
end $$;

drop trigger if exists keep_allowed_address on allowed_addresses;
create or replace trigger end_allowed_address
after delete on allowed_addresses for each row execute function keep_allowed_address();
create or replace trigger keep_allowed_role
after update of role on allowed_addresses for each row
when (old.role is distinct from new.role) execute function keep_allowed_address();
