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

-- Where an interface was is kept, when it goes and when it comes to another device or network.
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
create or replace trigger keep_interface_place
before update of device_id, network_id on interfaces for each row
when ((old.device_id, old.network_id) is distinct from (new.device_id, new.network_id))
execute function keep_interface_history();

create or replace function keep_interface() returns trigger language plpgsql as $$
begin
  raise exception 'An interface keeps its project, and unless it follows addresses its network.';
end $$;

create or replace trigger keep_interface
before update of id, project_id, network_id, follows_addresses on interfaces for each row
when ((old.id, old.project_id, old.follows_addresses)
    is distinct from (new.id, new.project_id, new.follows_addresses)
  or not old.follows_addresses and old.network_id <> new.network_id)
execute function keep_interface();

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

-- Locks what an operation on interfaces of projects will change, in the order that all keep: the
-- blocks, then what projects use, then what they use under grants. Answers why the first may not
-- have so many interfaces more.
drop function if exists lock_for_interfaces(uuid[], text[], int);
create or replace function lock_for_interfaces(
  block_ids uuid[], projects text[], more int, ending uuid[])
returns text language plpgsql as $$
declare
  usages block_usage[] := array(select u from lock_blocks(block_ids) u);
  project text := projects[1];
begin
  perform set_config('melange.lapse_limit', (select min(u.changed_at) from unnest(usages) u)::text,
    true);
  perform hold_quotas();
  perform lock_project_usage(array_agg(p.project_id), array_agg(p.scope_id))
  from (
    select h.project_id, h.scope_id from lapsed_holds(usages, 1000) h
    union
    select o.project_id, b.scope_id
    from unnest(projects) o (project_id), unnest(usages) u join blocks b on b.id = u.block_id
    union
    select o.project_id, null::uuid from unnest(projects) o (project_id)
  ) p;
  perform lock_grants_of_blocks(projects, array(select u.block_id from unnest(usages) u),
    ending || array(select h.id from lapsed_holds(usages, 1000) h));
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

-- Locks the interfaces of a device, those of a project or all. One that comes to the device after
-- that is not among them.
create or replace function lock_interfaces_of(device text, project text default null) returns uuid[]
language plpgsql as $$
begin
  return array(
    select i.id from interfaces i
    where i.device_id = device and (project is null or i.project_id = project)
    order by i.id for no key update);
end $$;

-- The same for whoever replaces them for a project, one at a time; before all other locks.
create or replace function lock_device(project text, device text, only_own boolean default true)
returns uuid[] language plpgsql as $$
begin
  perform pg_advisory_xact_lock(hashtextextended(project || '/' || device, 2));
  return lock_interfaces_of(device, case when only_own then project end);
end $$;

-- Names that interfaces are to have, and those of interfaces that may lose theirs.
create or replace function lock_interface_names(names text[], gone uuid[]) returns void
language plpgsql as $$
begin
  perform pg_advisory_xact_lock(hashtextextended(n.name, 13))
  from (
    select lower(n.name) as name from unnest(names) n (name)
    union
    select unnest(array[i.id::text, lower(i.v1_id),
      'client-id/' || i.network_id || '/' || i.client_id, 'duid/' || i.network_id || '/' || i.duid])
    from interfaces i where i.id = any (gone)
    order by name
  ) n;
end $$;

-- The same for all that an operation on interfaces will change, after the interfaces: the ids and
-- names of new ones and of those that go (`gone`: who wants the name of one that is going waits for
-- it here, with no MACs in hand), the networks and blocks from which addresses are taken (`taking`:
-- a JSON array of network_id, families and addresses), the blocks of the allocations that are
-- released or have to stay, what the projects use. Answers a network that is not there, or why the
-- first project may not have so many interfaces more.
create or replace function lock_interface_space(
  projects text[], more int, names text[], network_ids uuid[], block_ids uuid[], taking jsonb,
  held uuid[], gone uuid[], out missing uuid, out refusal text)
language plpgsql as $$
declare
  wanted uuid[];
  found uuid[];
begin
  perform lock_interface_names(names, gone);
  wanted := network_ids
    || array(select t.network_id from jsonb_to_recordset(taking) t (network_id uuid));
  found := array(
    select n.id from networks n where n.id = any (wanted) order by n.id for key share);
  missing := (
    select w.id from unnest(wanted) w (id) where w.id is not null and w.id <> all (found) limit 1);
  if missing is not null then
    return;
  end if;
  refusal := lock_for_interfaces(array(
    select unnest(block_ids)
    union
    select b.id
    from jsonb_to_recordset(taking) t (network_id uuid, families int[], addresses inet[]),
      unnest(interface_blocks(t.network_id, t.families, t.addresses)) b (id)
    union
    select a.block_id from allocations a where a.id = any (held)), projects, more, held);
end $$;

-- Creates interfaces of a device: a JSON array of id, network_id, name, tags, follows_addresses,
-- v1_id, client_id, duid and iaid. Answers those ids that were not taken already.
create or replace function insert_interfaces(project text, device text, wanted jsonb)
returns uuid[] language plpgsql as $$
declare
  inserted uuid[];
begin
  with added as (
    insert into interfaces as i (id, device_id, project_id, network_id, follows_addresses, v1_id,
      name, tags, client_id, duid, iaid, attached_at)
    select w.id, device, project, w.network_id, coalesce(w.follows_addresses, false), w.v1_id,
      w.name, w.tags, w.client_id, w.duid, w.iaid, wall_time()
    from jsonb_to_recordset(wanted) w (id uuid, network_id uuid, follows_addresses boolean,
      v1_id text, name text, tags text[], client_id text, duid text, iaid bigint)
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
