-- I7: limits are looked at in the transaction that takes what they limit, while the rows that count
-- it are locked. A room is what quotas leave to those who ask: an object from project/scope (or
-- project/ for all scopes) to [limit of allocations, their number, limit of IPv6 /64s, their
-- number].

-- Whether there are any limits. They stay as they are until the transaction ends: whoever changes
-- one waits for those who have looked, and who looks later sees it.
create or replace function hold_quotas() returns boolean language plpgsql as $$
begin
  lock table quotas in row share mode;
  return exists (select from quotas);
end $$;

-- For a change of limits: see hold_quotas. It is taken before the event lock.
create or replace function lock_limits() returns void language plpgsql as $$
begin
  lock table quotas in exclusive mode;
end $$;

-- The limits of a project in a scope, or in all: its own, else those of every project.
create or replace function quota_of(project text, scope uuid)
returns table (allocations bigint, ipv6_64s numeric, blocks bigint)
language sql stable as $$
  select coalesce(own.allocations, common.allocations), coalesce(own.ipv6_64s, common.ipv6_64s),
    coalesce(own.blocks, common.blocks)
  from (select) one
    left join quotas own on own.project_id = project and own.scope_id is not distinct from scope
    left join quotas common on common.project_id is null
      and common.scope_id is not distinct from scope
$$;

-- The room of projects in scopes, and in all, whose counts are locked. It is read after that, by a
-- statement of its own: the one that waited for a lock does not see what it waited for.
create or replace function quota_room(projects text[], scopes uuid[]) returns jsonb
language sql stable as $$
  select coalesce(jsonb_object_agg(u.project_id || '/' || coalesce(u.scope_id::text, ''),
    jsonb_build_array(q.allocations, u.allocations, q.ipv6_64s, u.ipv6_64s)), '{}')
  from project_usage u, quota_of(u.project_id, u.scope_id) q
  where u.project_id = any (projects) and (u.scope_id is null or u.scope_id = any (scopes))
    and (q.allocations is not null or q.ipv6_64s is not null)
$$;

-- Locks what projects use, if there are limits, and answers the room.
create or replace function lock_quotas(projects text[], scopes uuid[]) returns jsonb
language plpgsql as $$
begin
  if not hold_quotas() then
    return '{}';
  end if;
  perform lock_project_usage(projects, scopes);
  return quota_room(projects, scopes);
end $$;

-- The same for a batch, before it ends or begins anything in its blocks: with those who ask, those
-- whose holds have lapsed. Locked one after the other they would not be in order. Answers whether
-- there are limits; if not, what those who ask use is locked when it is counted.
create or replace function lock_usage_of(
  requests allocation_request[], usages block_usage[], lapsed_max int)
returns boolean language plpgsql as $$
declare
  is_limited boolean := hold_quotas();
  has_grants boolean := (select bool_or(r.needs_grant) from unnest(requests) r);
  lapsed allocations[];
begin
  if exists (select from unnest(usages) u where u.held > 0) then
    lapsed := array(select h from lapsed_holds(usages, lapsed_max) h);
  end if;
  if is_limited or has_grants or cardinality(lapsed) > 0 then
    perform lock_project_usage(array_agg(p.project_id), array_agg(p.scope_id))
    from (
      select h.project_id, h.scope_id from unnest(lapsed) h
      union
      select r.project_id, b.scope_id from unnest(requests) r join blocks b on b.id = r.block_id
      union
      select r.project_id, b.scope_id
      from (select distinct r.project_id, r.network_id from unnest(requests) r
        where r.block_id is null) r
        join blocks b on b.network_id = r.network_id
        join unnest(usages) u on u.block_id = b.id
    ) p;
  end if;
  if has_grants or exists (select from unnest(lapsed) h where h.grant_id is not null) then
    perform lock_grants(array_agg(r.project_id), array_agg(r.block_id), array_agg(r.network_id),
      array(select h.id from unnest(lapsed) h where h.grant_id is not null))
    from (
      select distinct r.project_id, case when r.network_id is null then r.block_id end as block_id,
        r.network_id
      from unnest(requests) r where r.needs_grant
    ) r;
  end if;
  return is_limited;
end $$;

-- What is left after a request takes so much; null if that is too much.
create or replace function use_quota(
  room jsonb, project text, scope uuid, more_allocations bigint, more_64s numeric)
returns jsonb language plpgsql immutable as $$
declare
  key text;
  counts jsonb;
begin
  if room = '{}' then
    return room;
  end if;
  foreach key in array array[project || '/' || scope, project || '/'] loop
    counts := room -> key;
    continue when counts is null;
    if (counts ->> 1)::bigint + more_allocations > (counts ->> 0)::bigint
      or more_64s > 0 and (counts ->> 3)::numeric + more_64s > (counts ->> 2)::numeric then
      return null;
    end if;
    room := jsonb_set(room, array[key], jsonb_build_array(
      counts -> 0, (counts ->> 1)::bigint + more_allocations,
      counts -> 2, (counts ->> 3)::numeric + more_64s));
  end loop;
  return room;
end $$;

-- Which limit a request would pass, in words. `promised` is the room after what the same request
-- has been promised before.
create or replace function quota_reached(
  room jsonb, project text, scope uuid, more_allocations bigint, more_64s numeric,
  promised jsonb default null)
returns text language sql stable as $$
  select format('Project %s has %s of %s %s%s, and asked for %s more.', project, l.used, l.most,
    l.what, ' in the address scope ' || (select s.name from address_scopes s where s.id = k.scope),
    l.more)
  from (values (project || '/' || scope, scope), (project || '/', null)) k (key, scope),
    lateral (select room -> k.key, coalesce(promised, room) -> k.key) c (before, after),
    lateral (values
      ('allocations', (c.before ->> 0)::numeric, (c.before ->> 1)::numeric,
        (c.after ->> 1)::numeric - (c.before ->> 1)::numeric + more_allocations),
      ('IPv6 /64s', (c.before ->> 2)::numeric, (c.before ->> 3)::numeric,
        more_64s)) l (what, most, used, more)
  where l.more > 0 and l.used + l.more > l.most
  order by k.scope nulls last, l.what limit 1
$$;

-- Why a project may not have so many more blocks in a scope; null if it may. What it uses stays
-- locked.
create or replace function blocks_over_quota(project text, scope uuid, more_blocks bigint)
returns text language plpgsql as $$
begin
  if not hold_quotas() then
    return null;
  end if;
  perform lock_project_usage(array[project], array[scope]);
  return (
    select format('Project %s has %s of %s blocks%s, and asked for %s more.', project, u.blocks,
      q.blocks, ' in the address scope ' || s.name, more_blocks)
    from project_usage u left join address_scopes s on s.id = u.scope_id,
      quota_of(u.project_id, u.scope_id) q
    where u.project_id = project and (u.scope_id is null or u.scope_id = scope)
      and u.blocks + more_blocks > q.blocks
    order by u.scope_id nulls last limit 1);
end $$;
