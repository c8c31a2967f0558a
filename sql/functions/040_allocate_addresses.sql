-- One batch of allocate requests in one transaction. Every request has its own outcome.
do $$ begin
  if to_regtype('allocation_request') is null then
    create type allocation_request as (
      request int,        -- Names the request in the answer.
      block_id uuid,
      ids uuid[],         -- One for each allocation that is wanted.
      address inet,       -- This address, or this prefix,
      fallback boolean,   -- or, if it is taken, the next one.
      prefix_length int,  -- A free prefix of this length,
      contiguous boolean, -- of which the first cardinality(ids) addresses are taken one by one.
      project_id text,
      owner_type text,
      owner_id text,
      name text,
      tags text[]
    );
  end if;
end $$;

-- The end of a run of at most 2^32 addresses from `first` on; differences stay within bigint.
create or replace function end_of_run(first inet, last inet) returns inet
language sql immutable as $$
  select case family(first)
    when 4 then last
    else least(last, last_of(set_masklen(first, 96)))
  end
$$;

-- A random address of a block, network and last address included.
create or replace function random_address(block cidr) returns inet
language plpgsql volatile as $$
declare
  noise text := md5(gen_random_uuid()::text || gen_random_uuid()::text);
begin
  if family(block) = 4 then
    return host(block)::inet
      + (('x' || left(noise, 8))::bit(32)::bigint & (hostmask(block) - '0.0.0.0'));
  end if;
  noise := rtrim(regexp_replace(noise, '(.{4})', '\1:', 'g'), ':');
  return host(block)::inet | (noise::inet & hostmask(block));
end $$;

-- A random free address of a block: where a random one is not free, one of the run behind it.
create or replace function random_free_address(block blocks) returns inet
language plpgsql as $$
declare
  wanted inet := random_address(block.cidr);
  run free_ranges;
begin
  select * into run from free_ranges f where f.block_id = block.id and f.last >= wanted
  order by f.last limit 1;
  if run.first is null then
    select * into run from free_ranges f where f.block_id = block.id order by f.last limit 1;
  end if;
  if wanted between run.first and run.last then
    return wanted;
  end if;
  return run.first
    + floor(random() * (end_of_run(run.first, run.last) - run.first + 1))::bigint;
end $$;

-- Takes `wanted` single addresses by the strategy of the block; fewer only if it has no more.
create or replace function take_addresses(block blocks, wanted bigint) returns inet[]
language plpgsql as $$
declare
  taken inet[] := '{}';
  runs refcursor;
  run free_ranges;
  used_up free_ranges; -- The last run of which nothing is left; nor is of those before it.
  start inet;
  length bigint;
begin
  if block.strategy = 'random' then
    for n in 1..wanted loop
      start := random_free_address(block);
      exit when start is null;
      perform take_range(block.id, start, start);
      taken := taken || start;
    end loop;
    return taken;
  end if;

  if block.strategy = 'least_recently_used' then
    open runs for select * from free_ranges f
      where f.block_id = block.id and f.free_since is not null order by f.free_since, f.last;
  else
    open runs for select * from free_ranges f where f.block_id = block.id order by f.last;
  end if;
  while wanted > 0 loop
    fetch runs into run;
    exit when run.first is null;
    start := run.first;
    loop
      length := least(wanted, end_of_run(start, run.last) - start + 1);
      if length = 1 then
        taken := taken || start;
      else
        taken := taken || array(select start + n from generate_series(0, length - 1) n);
      end if;
      wanted := wanted - length;
      if start + (length - 1) = run.last then
        used_up := run;
        exit;
      end if;
      start := start + length;
      if wanted = 0 then
        update free_ranges f set first = start where f.block_id = block.id and f.last = run.last;
        exit;
      end if;
    end loop;
  end loop;
  close runs;

  if block.strategy = 'least_recently_used' then
    delete from free_ranges f
    where f.block_id = block.id and (f.free_since, f.last) <= (used_up.free_since, used_up.last);
  else
    delete from free_ranges f where f.block_id = block.id and f.last <= used_up.last;
  end if;
  return taken;
end $$;

-- A time with its microseconds, as RFC 3339 has it.
create or replace function iso_time(at timestamptz) returns text
language sql stable as $$
  select to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- An allocation as the API and the events show it.
create or replace function allocation_document(a allocations) returns json
language sql stable as $$
  select json_build_object('id', a.id, 'scope_id', a.scope_id, 'block_id', a.block_id,
    'address', a.address, 'project_id', a.project_id, 'owner_type', a.owner_type,
    'owner_id', a.owner_id, 'name', a.name, 'tags', a.tags, 'generation', a.generation,
    'started_at', iso_time(a.started_at), 'ended_at', null)
$$;

-- Why a wanted address of a block cannot be had.
create or replace function why_not_free(block blocks, wanted inet) returns text
language sql stable as $$
  select case
    when not wanted <<= block.cidr then 'address_outside_block'
    when exists (
      select from allocations a where a.scope_id = block.scope_id and a.address = wanted
      union all
      select from allocations a
      where a.scope_id = block.scope_id and a.is_prefix and a.address && wanted
      union all
      select from allocations a
      where a.scope_id = block.scope_id and a.address > wanted and a.address <= last_of(wanted)
    ) then 'address_taken'
    else 'address_excluded'
  end
$$;

-- Takes what a request names: an address, a prefix, a free prefix of a length, or the first
-- addresses of one. Either the addresses or the reason why not.
create or replace function take_wish(
  block blocks, wish allocation_request, out addresses inet[], out refusal text)
language plpgsql as $$
declare
  prefix inet := coalesce(wish.address, find_prefix(block.id, wish.prefix_length));
  first inet := first_of(prefix);
  last inet := last_of(prefix);
begin
  if prefix is null then
    refusal := 'no_free_prefix';
  elsif not prefix <<= block.cidr then
    refusal := 'address_outside_block';
  elsif wish.contiguous then
    addresses := array(select first + n from generate_series(0, cardinality(wish.ids) - 1) n);
    perform take_range(block.id, first, addresses[cardinality(addresses)]);
  elsif take_range(block.id, first, last) then
    addresses := array[prefix];
  else
    refusal := why_not_free(block, prefix);
  end if;
end $$;

-- A batch is a JSON array of allocation_request. Answers a row for each allocation, and one with
-- an error for each request that is refused.
create or replace function allocate_addresses(batch jsonb)
returns table (
  request int, id uuid, scope_id uuid, address inet, started_at timestamptz, error text)
language plpgsql
-- Plans are kept, and may have been made when a table was empty: it will not stay so.
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  requests allocation_request[] := array(
    select r from jsonb_populate_recordset(null::allocation_request, batch) r);
  wish allocation_request;
  block blocks;
  usage block_usage;
  free_left numeric;
  addresses inet[];
  refusal text;
  refused int[] := '{}';
  refusals text[] := '{}';
  plain int[]; -- The requests of the block at hand that any single addresses will do for.
  wanted bigint;
  taken_by int[] := '{}';
  taken_ids uuid[] := '{}';
  taken inet[] := '{}';
  added allocations[];
begin
  for usage in select * from lock_blocks(array(select r.block_id from unnest(requests) r)) loop
    continue when usage.in_children > 0;
    select * into block from blocks b where b.id = usage.block_id;
    free_left := usage.free;

    select array_agg(r.request order by r.request), sum(cardinality(r.ids)) into plain, wanted
    from unnest(requests) r
    where r.block_id = block.id and r.address is null and r.prefix_length is null;

    if wanted is null or cardinality(plain) < cardinality(requests) then
      for wish in
        select * from unnest(requests) r
        where r.block_id = block.id and (r.address is not null or r.prefix_length is not null)
        order by r.request
      loop
        select w.addresses, w.refusal into addresses, refusal from take_wish(block, wish) w;
        if refusal in ('address_taken', 'address_excluded') and wish.fallback then
          plain := plain || wish.request;
          wanted := coalesce(wanted, 0) + cardinality(wish.ids);
        elsif refusal is not null then
          refused := refused || wish.request;
          refusals := refusals || refusal;
        else
          taken_by := taken_by || array_fill(wish.request, array[cardinality(wish.ids)]);
          taken_ids := taken_ids || wish.ids;
          taken := taken || addresses;
          free_left := free_left - (select sum(address_count(a)) from unnest(addresses) a);
        end if;
      end loop;
    end if;

    if wanted > free_left then
      -- Not enough for all: in the order of asking, whoever can be served in full is.
      wanted := 0;
      for wish in select * from unnest(requests) r where r.request = any (plain) order by r.request
      loop
        if wanted + cardinality(wish.ids) <= free_left then
          wanted := wanted + cardinality(wish.ids);
        else
          plain := array_remove(plain, wish.request);
          refused := refused || wish.request;
          refusals := refusals || 'block_full'::text;
        end if;
      end loop;
    end if;
    if wanted > 0 then
      taken_by := taken_by || array(
        select r.request from unnest(requests) r, unnest(r.ids)
        where r.request = any (plain) order by r.request);
      taken_ids := taken_ids || array(
        select i.id from unnest(requests) r, unnest(r.ids) with ordinality i (id, position)
        where r.request = any (plain) order by r.request, i.position);
      taken := taken || take_addresses(block, wanted);
      if cardinality(taken) <> cardinality(taken_ids) then
        raise exception 'Block % counts more free addresses than it has.', block.id;
      end if;
    end if;
  end loop;

  return query
    select r.request, null::uuid, null::uuid, null::inet, null::timestamptz, r.refusal
    from (
      select * from unnest(refused, refusals) refusals (request, refusal)
      union all
      select w.request,
        case when u.block_id is null then 'block_not_found' else 'block_has_children' end
      from unnest(requests) w left join block_usage u on u.block_id = w.block_id
      where u.block_id is null or u.in_children > 0
    ) r;

  if cardinality(taken) > 0 then
    with inserted as (
      insert into allocations (id, scope_id, block_id, address, project_id, owner_type, owner_id,
        name, tags, started_at)
      select t.id, b.scope_id, r.block_id, t.address, r.project_id, r.owner_type, r.owner_id,
        r.name, r.tags, u.changed_at
      from unnest(taken_by, taken_ids, taken) t (request, id, address)
        join unnest(requests) r on r.request = t.request
        join blocks b on b.id = r.block_id
        join block_usage u on u.block_id = r.block_id
      returning *
    )
    select array_agg(i) into added from inserted i;
    perform lock_events();
    insert into events (seq, type, object_id, project_id, data)
    select nextval('event_seq'), 'allocation.created', a.id, a.project_id, allocation_document(a)
    from unnest(added) a;
    return query
      select t.request, a.id, a.scope_id, a.address, a.started_at, null::text
      from unnest(taken_by, taken_ids) with ordinality t (request, id, position)
        join unnest(added) a on a.id = t.id
      order by position;
  end if;
end $$;
