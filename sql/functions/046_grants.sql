-- I15: who takes addresses under a grant holds the grant (for share) and the count of what the
-- project holds there until its transaction ends. Whoever changes or revokes a grant waits for
-- those, and who comes later sees what it did.

-- What an address or a prefix counts under a grant: an IPv4 prefix its addresses, an IPv6 prefix
-- its /64s, and one at least.
create or replace function grant_weight(taken inet) returns numeric
language sql immutable strict parallel safe as $$
  select case family(taken) when 4 then address_count(taken)
    else greatest(ipv6_64s(taken), 1) end
$$;

-- The grants of a project for a block, or for a network: those on the place itself first, those of
-- the project alone before those of all. A grant holds for all below its place that is of the
-- same project as the place.
create or replace function grants_for(project text, block uuid, network uuid)
returns setof grants language plpgsql stable as $$
begin
  if block is null then
    return query
      select g.* from grants g
      where g.network_id = network and g.revoked_at is null
        and coalesce(g.project_id = project, true)
      order by g.project_id nulls last;
    return;
  end if;
  return query
    with recursive above as (
      select b.id, b.parent_id, b.project_id, b.network_id, 0 as height from blocks b
      where b.id = block
      union all
      select p.id, p.parent_id, p.project_id, p.network_id, a.height + 1
      from above a join blocks p on p.id = a.parent_id
      where p.project_id is not distinct from a.project_id
    )
    select (f.found).* from (
      select g as found, a.height from above a join grants g on g.block_id = a.id
      where g.revoked_at is null
      union all
      select g, 1000 from above a
        join networks n on n.id = a.network_id and n.project_id is not distinct from a.project_id
        join grants g on g.network_id = n.id
      where a.height = 0 and g.revoked_at is null
    ) f
    where coalesce((f.found).project_id = project, true)
    order by f.height, (f.found).project_id nulls last;
end $$;

-- Locks how much projects hold of places, row for row in one order, and makes what is not there.
create or replace function lock_grant_usage(block_ids uuid[], network_ids uuid[], projects text[])
returns void language plpgsql as $$
begin
  insert into grant_usage as u (block_id, network_id, project_id)
  select distinct p.block_id, p.network_id, p.project_id
  from unnest(block_ids, network_ids, projects) p (block_id, network_id, project_id)
  order by block_id, network_id, project_id
  on conflict (block_id, network_id, project_id) do update set held = u.held where false;
end $$;

-- Locks what the ends of these allocations will change, with what projects (each beside its block
-- or network) may take under grants: first the grants, then the counts.
create or replace function lock_grants(
  projects text[], block_ids uuid[], network_ids uuid[], ending uuid[])
returns void language plpgsql as $$
declare
  wanted uuid[] := array(
    select distinct g.id
    from unnest(projects, block_ids, network_ids) w (project_id, block_id, network_id),
      grants_for(w.project_id, w.block_id, w.network_id) g);
begin
  perform from grants g where g.id = any (wanted) order by g.id for share;
  perform lock_grant_usage(array_agg(p.block_id), array_agg(p.network_id), array_agg(p.project_id))
  from (
    select g.block_id, g.network_id, w.project_id
    from unnest(projects, block_ids, network_ids) w (project_id, block_id, network_id),
      grants_for(w.project_id, w.block_id, w.network_id) g
    union
    select g.block_id, g.network_id, a.project_id
    from allocations a join grants g on g.id = a.grant_id where a.id = any (ending)
  ) p;
end $$;

-- The same for operations on interfaces, before all else that they lock behind the blocks: what
-- their projects may take of the blocks at hand or of their networks.
create or replace function lock_grants_of_blocks(projects text[], block_ids uuid[], ending uuid[])
returns void language plpgsql as $$
begin
  if not exists (select from grants) then
    return;
  end if;
  perform lock_grants(array_agg(w.project), array_agg(w.block), array_agg(w.network), ending)
  from (
    select p.project, b.id as block, null::uuid as network
    from unnest(projects) p (project), unnest(block_ids) b (id)
    union
    select p.project, null, b.network_id
    from unnest(projects) p (project), blocks b
    where b.id = any (block_ids) and b.network_id is not null
  ) w;
end $$;

-- The grant under which a project may take so much; why none, else. What is looked at is locked,
-- and read as it is then. `promised` is what others of the batch take before, by place and project.
create or replace function choose_grant(
  project text, block uuid, network uuid, weight numeric, promised jsonb,
  out grant_id uuid, out key text, out refusal text, out detail text)
language plpgsql as $$
declare
  known uuid;
  one grants;
  held numeric;
  more numeric;
begin
  refusal := 'not_granted';
  for known in select g.id from grants_for(project, block, network) g loop
    select * into one from grants g where g.id = known and g.revoked_at is null for share;
    continue when not found;
    select u.held into held from grant_usage u
    where u.project_id = project and u.block_id is not distinct from one.block_id
      and u.network_id is not distinct from one.network_id for update;
    continue when not found; -- It is younger than the locks.
    key := concat_ws('/', one.block_id, one.network_id, project);
    more := coalesce((promised ->> key)::numeric, 0);
    if weight = 0 or one.allocations_max is null or held + more + weight <= one.allocations_max then
      grant_id := one.id;
      refusal := null;
      detail := null;
      return;
    end if;
    if held + weight <= one.allocations_max then
      refusal := 'again'; -- What others are promised may come to nothing.
      detail := null;
    elsif refusal = 'not_granted' then
      refusal := 'quota_exceeded';
      detail := format('Project %s has %s of the %s that grant %s lets it have, asked for %s more.',
        project, held, one.allocations_max, one.id, weight);
    end if;
  end loop;
end $$;

-- Counts what began (or with -1, ended) under grants.
create or replace function count_under_grants(
  grant_ids uuid[], projects text[], taken inet[], sign int) returns void
language plpgsql as $$
begin
  insert into grant_usage as u (block_id, network_id, project_id, held)
  select g.block_id, g.network_id, t.project_id, sum(grant_weight(t.address))
  from unnest(grant_ids, projects, taken) t (id, project_id, address) join grants g on g.id = t.id
  group by g.block_id, g.network_id, t.project_id
  order by g.block_id, g.network_id, t.project_id
  on conflict (block_id, network_id, project_id) do update
  set held = u.held + sign * excluded.held;
end $$;

-- The blocks and the networks that are granted to a project.
create or replace function blocks_granted_to(project text) returns setof uuid
language sql stable as $$
  with recursive below as (
    select b.id, b.project_id from grants g join blocks b on b.id = g.block_id
    where (g.project_id = project or g.project_id is null) and g.revoked_at is null
    union
    select b.id, b.project_id from grants g join networks n on n.id = g.network_id
      join blocks b on b.network_id = n.id and b.project_id is not distinct from n.project_id
    where (g.project_id = project or g.project_id is null) and g.revoked_at is null
    union
    select c.id, c.project_id from below p join blocks c on c.parent_id = p.id
    where c.project_id is not distinct from p.project_id
  )
  select id from below
$$;

create or replace function networks_granted_to(project text) returns setof uuid
language sql stable as $$
  select g.network_id from grants g
  where (g.project_id = project or g.project_id is null) and g.revoked_at is null
    and g.network_id is not null
$$;
