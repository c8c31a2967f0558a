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
  at timestamptz := greatest(wall_time(), old.attached_at);
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
-- blocks, then what projects use. Answers why the first may not have so many interfaces more.
create or replace function lock_for_interfaces(block_ids uuid[], projects text[], more int)
returns text language plpgsql as $$
declare
  usages block_usage[] := array(select u from lock_blocks(block_ids) u);
  project text := projects[1];
begin
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

-- Who may use an address, and in which role, is kept when it ends.
create or replace function keep_allowed_address() returns trigger language plpgsql as $$
begin
  insert into allowed_address_history (allowed_address_id, interface_id, network_id, address, role,
    started_at, ended_at)
  values (old.id, old.interface_id, old.network_id, old.address, old.role, old.updated_at,
    greatest(clock_timestamp(), old.updated_at));
  return null;
end $$;

create or replace trigger keep_allowed_address
after delete or update of role on allowed_addresses
for each row execute function keep_allowed_address();
