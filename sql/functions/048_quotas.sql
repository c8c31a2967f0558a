-- I7: what projects may still take, for those that are limited. The rows that count it stay locked
-- until the transaction ends. An object: project/scope (or project/) to [allocations, IPv6 /64s].
create or replace function lock_quotas(projects text[], scopes uuid[]) returns jsonb
language plpgsql as $$
begin
  if not exists (select from quotas) then
    return '{}';
  end if;
  return (
    select coalesce(jsonb_object_agg(u.project_id || '/' || coalesce(u.scope_id::text, ''),
      jsonb_build_array(q.allocations - u.allocations, q.ipv6_64s - u.ipv6_64s)), '{}')
    from lock_project_usage(projects, scopes) u, quota_of(u.project_id, u.scope_id) q
    where q.allocations is not null or q.ipv6_64s is not null);
end $$;

-- The limits of a project in a scope, or in all: its own, else those of every project.
create or replace function quota_of(project text, scope uuid)
returns table (allocations bigint, ipv6_64s bigint, blocks bigint)
language sql stable as $$
  select coalesce(own.allocations, common.allocations), coalesce(own.ipv6_64s, common.ipv6_64s),
    coalesce(own.blocks, common.blocks)
  from (select) one
    left join quotas own on own.project_id = project and own.scope_id is not distinct from scope
    left join quotas common on common.project_id is null
      and common.scope_id is not distinct from scope
$$;

-- What is left after a request takes so much; null if that is too much.
create or replace function use_quota(
  room jsonb, project text, scope uuid, more_allocations bigint, more_64s numeric)
returns jsonb language plpgsql immutable as $$
declare
  key text;
begin
  if room = '{}' then
    return room;
  end if;
  foreach key in array array[project || '/' || scope, project || '/'] loop
    continue when room -> key is null;
    if (room -> key ->> 0)::bigint < more_allocations
      or more_64s > 0 and (room -> key ->> 1)::numeric < more_64s then
      return null;
    end if;
    room := jsonb_set(room, array[key], jsonb_build_array(
      (room -> key ->> 0)::bigint - more_allocations, (room -> key ->> 1)::numeric - more_64s));
  end loop;
  return room;
end $$;

-- Which limit a request would pass, in words.
create or replace function quota_reached(
  project text, scope uuid, more_allocations bigint, more_64s numeric) returns text
language sql stable as $$
  select format('Project %s may have %s %s%s, and has %s.', project, l.most, l.what,
    case when u.scope_id is null then '' else ' in the address scope ' || s.name end, l.used)
  from project_usage u left join address_scopes s on s.id = u.scope_id,
    quota_of(u.project_id, u.scope_id) q,
    lateral (values ('allocations', q.allocations::numeric, u.allocations::numeric,
        more_allocations::numeric),
      ('IPv6 /64s', q.ipv6_64s, u.ipv6_64s, more_64s)) l (what, most, used, more)
  where u.project_id = project and (u.scope_id = scope or u.scope_id is null)
    and l.more > 0 and l.used + l.more > l.most
  order by u.scope_id nulls last limit 1
$$;
