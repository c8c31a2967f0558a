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

-- Somewhere in a run: at the wanted place if that is in it.
create or replace function random_address_of(run free_ranges, wanted inet) returns inet
language sql volatile as $$
  select case when wanted between run.first and run.last then wanted
    else run.first
      + floor(random() * (end_of_run(run.first, run.last) - run.first + 1))::bigint end
$$;

-- A random free address of a block: where a random one is not free, one of the run behind it.
create or replace function random_free_address(block uuid, cidr cidr) returns inet
language plpgsql as $$
declare
  wanted inet := random_address(cidr);
  run free_ranges;
begin
  select * into run from free_ranges f where f.block_id = block and f.last >= wanted
  order by f.last limit 1;
  if run.first is null then
    select * into run from free_ranges f where f.block_id = block order by f.last limit 1;
  end if;
  return random_address_of(run, wanted);
end $$;

-- The first address from `first` to `last` whose last octet is not excluded; null if there is none.
-- It is in the run of 256 that `first` is in, or else in the next one.
create or replace function next_usable(first inet, last inet, excluded smallint[]) returns inet
language sql immutable as $$
  select case when excluded = '{}' then first else (
    select first + n
    from (select last_of(set_masklen(first, masklen(first) - 8)) as stop) here,
      lateral (select case when here.stop >= last then last else least(last,
        last_of(set_masklen(here.stop + 1, masklen(first) - 8))) end as stop) two,
      generate_series(0, two.stop - first) n
    where (last_octet(first) + n) % 256 <> all (excluded) order by n limit 1) end
$$;

-- The last of at most `wanted` addresses from `first` to `last` with no excluded one among them.
create or replace function usable_end(first inet, last inet, wanted bigint, excluded smallint[])
returns inet language sql immutable as $$
  select first + least(wanted - 1, end_of_run(first, last) - first, (
    select min(n) - 1 from generate_series(1, 255) n
    where (last_octet(first) + n) % 256 = any (excluded)))
$$;

-- Takes single addresses where rules keep something back: from one pool, past excluded octets.
create or replace function take_from_pool(block blocks, wanted bigint, from_pool text)
returns inet[] language plpgsql as $$
declare
  taken inet[] := '{}';
  run free_ranges;
  start inet;
  stop inet;
begin
  while wanted > 0 loop
    if block.strategy = 'random' then
      start := random_address(block.cidr);
      select * into run from free_ranges f
      where f.block_id = block.id and f.pool = from_pool and f.last >= start
      order by f.last limit 1;
    end if;
    if block.strategy = 'least_recently_used' then
      select * into run from free_ranges f
      where f.block_id = block.id and f.pool = from_pool and f.free_since is not null
      order by f.free_since, f.last limit 1;
    elsif block.strategy = 'sequential' or run.first is null then
      select * into run from free_ranges f
      where f.block_id = block.id and f.pool = from_pool order by f.last limit 1;
    end if;
    exit when run.first is null;
    if block.strategy = 'random' then
      start := coalesce(
        next_usable(random_address_of(run, start), run.last, block.excluded_octets),
        next_usable(run.first, run.last, block.excluded_octets));
      stop := start;
    else
      start := next_usable(run.first, run.last, block.excluded_octets);
      stop := usable_end(start, run.last, wanted, block.excluded_octets);
    end if;
    perform take_range(block.id, start, stop);
    taken := taken || array(select start + n from generate_series(0, stop - start) n);
    wanted := wanted - (stop - start + 1);
  end loop;
  return taken;
end $$;

-- How many of so many single addresses a pool of a block lacks; it looks no further than that.
create or replace function missing_in_pool(block blocks, from_pool text, wanted bigint)
returns bigint language plpgsql stable as $$
declare
  run free_ranges;
  missing numeric := wanted;
begin
  if block.excluded_octets is null then
    for run in select * from free_ranges f where f.block_id = block.id order by f.last loop
      missing := missing - range_size(run.first, run.last);
      exit when missing <= 0;
    end loop;
    return greatest(missing, 0);
  end if;
  for run in
    select * from free_ranges f where f.block_id = block.id and f.pool = from_pool order by f.last
  loop
    missing := missing - range_size(run.first, run.last)
      + count_octets(run.first, run.last, block.excluded_octets);
    exit when missing <= 0;
  end loop;
  return greatest(missing, 0);
end $$;

create or replace function pool_holds(block blocks, from_pool text, wanted bigint) returns boolean
language plpgsql stable as $$
begin
  return missing_in_pool(block, from_pool, wanted) = 0;
end $$;

-- The pool that serves a purpose: that of the purpose where rules keep ranges for it.
create or replace function pool_for(block blocks, wanted_purpose text) returns text
language sql stable as $$
  select case when wanted_purpose <> '' and block.excluded_octets is not null and exists (
      select from kept_ranges k where k.block_id = block.id and k.purpose = wanted_purpose)
    then wanted_purpose else '' end
$$;

-- Takes `wanted` single addresses by the strategy of the block; fewer only if it has no more.
create or replace function take_addresses(block blocks, wanted bigint, from_pool text)
returns inet[] language plpgsql as $$
declare
  taken inet[] := '{}';
  runs refcursor;
  run free_ranges;
  used_up free_ranges; -- The last run of which nothing is left; nor is of those before it.
  start inet;
  length bigint;
begin
  if block.excluded_octets is not null then
    return take_from_pool(block, wanted, from_pool);
  end if;
  if block.strategy = 'random' then
    for n in 1..wanted loop
      start := random_free_address(block.id, block.cidr);
      exit when start is null or not take_range(block.id, start, start);
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

  if used_up.first is null then
    return taken;
  end if;
  if block.strategy = 'least_recently_used' then
    delete from free_ranges f
    where f.block_id = block.id and (f.free_since, f.last) <= (used_up.free_since, used_up.last);
  else
    delete from free_ranges f where f.block_id = block.id and f.last <= used_up.last;
  end if;
  return taken;
end $$;
