-- The first address of a prefix, and the last one.
create or replace function first_of(prefix inet) returns inet
language sql immutable strict parallel safe as $$
  select set_masklen(network(prefix)::inet, case family(prefix) when 4 then 32 else 128 end)
$$;

create or replace function last_of(prefix inet) returns inet
language sql immutable strict parallel safe as $$
  select set_masklen(broadcast(prefix), case family(prefix) when 4 then 32 else 128 end)
$$;

-- The only ways in which free space changes. The caller holds the block's row in block_usage.

-- Takes wanted_first..wanted_last out of the free space of a block; false if not all of it is free.
create or replace function take_range(block uuid, wanted_first inet, wanted_last inet)
returns boolean language plpgsql as $$
declare
  range free_ranges;
  next inet := wanted_first;
begin
  loop
    select * into range from free_ranges f
    where f.block_id = block and f.last >= next order by f.last limit 1;
    if range.first is null or range.first > next then
      return false;
    end if;
    exit when range.last >= wanted_last;
    next := range.last + 1; -- Where a run of another age may follow.
  end loop;
  if next > wanted_first then
    delete from free_ranges f
    where f.block_id = block and f.last >= wanted_first and f.last < next
      and f.first >= wanted_first;
    -- What is left began further down; else `wanted_first - 1` may be no address, and an error.
    if exists (
      select from free_ranges f
      where f.block_id = block and f.last >= wanted_first and f.last < next
    ) then
      update free_ranges f set last = wanted_first - 1
      where f.block_id = block and f.last >= wanted_first and f.last < next;
    end if;
    wanted_first := next;
  end if;
  if range.first = wanted_first and range.last = wanted_last then
    delete from free_ranges f where f.block_id = block and f.last = range.last;
  elsif range.last = wanted_last then
    update free_ranges f set last = wanted_first - 1
    where f.block_id = block and f.last = range.last;
  else
    update free_ranges f set first = wanted_last + 1
    where f.block_id = block and f.last = range.last;
    if range.first < wanted_first then
      insert into free_ranges (block_id, first, last, free_since, purpose, excluded_octets)
      values (block, range.first, wanted_first - 1, range.free_since, range.purpose,
        range.excluded_octets);
    end if;
  end if;
  return true;
end $$;

-- Gives given_first..given_last to the free space of a block, joined with its free neighbours of
-- the same age and purpose.
create or replace function give_range(
  block uuid, given_first inet, given_last inet, since timestamptz, octets smallint[],
  for_purpose text default '')
returns void language plpgsql as $$
declare
  above_first inet;
  above_last inet;
  below_first inet;
  below_last inet;
  is_alike boolean; -- Of the same age, for the same purpose.
begin
  -- The run that ends at or behind the given one, and the one before it: two steps in one index.
  select f.first, f.last, f.free_since is not distinct from since and f.purpose = for_purpose
  into above_first, above_last, is_alike
  from free_ranges f where f.block_id = block and f.last >= given_first order by f.last limit 1;
  if above_first <= given_last then
    raise exception 'The free space of block % already has some of %-%.',
      block, given_first, given_last;
  end if;
  if not is_alike or above_first - 1 <> given_last then
    above_first := null;
  end if;
  select f.first, f.last, f.free_since is not distinct from since and f.purpose = for_purpose
  into below_first, below_last, is_alike
  from free_ranges f where f.block_id = block and f.last < given_first order by f.last desc limit 1;
  if not is_alike or below_last + 1 <> given_first then
    below_first := null;
  end if;

  if above_first is not null then
    if below_first is not null then
      delete from free_ranges f where f.block_id = block and f.last = below_last;
    end if;
    update free_ranges f set first = coalesce(below_first, given_first)
    where f.block_id = block and f.last = above_last;
  elsif below_first is not null then
    update free_ranges f set last = given_last where f.block_id = block and f.last = below_last;
  else
    insert into free_ranges (block_id, first, last, free_since, purpose, excluded_octets)
    values (block, given_first, given_last, since, for_purpose, octets);
  end if;
end $$;

-- The age of what becomes free at a time, where the block keeps ages.
create or replace function age_of(block blocks, since timestamptz) returns timestamptz
language sql immutable as $$
  select case block.strategy when 'least_recently_used' then since end
$$;

-- Length of the largest free prefix in first..last that holds the given one.
create or replace function free_prefix_around(prefix inet, first inet, last inet)
returns int language plpgsql immutable as $$
declare
  length int := masklen(prefix);
begin
  while length > 0
    and first_of(set_masklen(prefix, length - 1)) >= first
    and last_of(set_masklen(prefix, length - 1)) <= last
  loop
    length := length - 1;
  end loop;
  return length;
end $$;

-- The free space of a block without regard to its ages.
create or replace function joined_ranges(block uuid)
returns table (first inet, last inet, purpose text, excluded_octets smallint[])
language sql stable as $$
  select min(first), max(last), min(purpose), min(excluded_octets)
  from (
    select first, last, purpose, excluded_octets,
      count(*) filter (where is_start) over (order by last) as run
    from (
      select first, last, purpose, excluded_octets,
        coalesce(lag(last) over w + 1 <> first or lag(purpose) over w <> purpose, true) as is_start
      from free_ranges where block_id = block
      window w as (order by last)
    ) marked
  ) runs
  group by run
$$;

-- Finds a free prefix of a length by best fit: in the run whose largest prefix is the smallest
-- that will do, at that end of it where a smaller free prefix is broken. Null if there is none.
create or replace function find_prefix(block uuid, length int, for_purpose text default '')
returns inet language plpgsql volatile as $$
declare
  range free_ranges;
begin
  select * into range from free_ranges f
  where f.block_id = block and f.largest_prefix <= length and f.purpose = for_purpose
  order by f.largest_prefix desc, f.last limit 1;
  if range.first is null
    and exists (select from free_ranges f where f.block_id = block and f.free_since is not null)
  then
    -- Neighbours of different ages may have together what none has alone.
    select j.first, j.last into range.first, range.last from joined_ranges(block) j
    where j.purpose = for_purpose and largest_prefix_length(j.first, j.last) <= length
    order by largest_prefix_length(j.first, j.last) desc, j.last limit 1;
  end if;
  return find_prefix_in(range.first, range.last, length);
end $$;

-- The prefix of a length in first..last that breaks the smaller of its free prefixes.
create or replace function find_prefix_in(first inet, last inet, length int) returns inet
language plpgsql immutable as $$
declare
  lowest inet;
  highest inet;
begin
  if first is null or length > masklen(first) then
    return null;
  end if;
  lowest := first_of(set_masklen(first, length));
  if lowest < first then
    lowest := last_of(set_masklen(first, length)) + 1;
  end if;
  highest := first_of(set_masklen(last, length));
  if last_of(set_masklen(last, length)) > last then
    highest := first_of(set_masklen(highest - 1, length));
  end if;
  lowest := set_masklen(lowest, length);
  highest := set_masklen(highest, length);
  if free_prefix_around(highest, first, last) > free_prefix_around(lowest, first, last) then
    return highest;
  end if;
  return lowest;
end $$;

-- Begins to keep the ages of a block's free addresses, or forgets them and joins the neighbours.
create or replace function reset_ages(block uuid, keep boolean) returns void language plpgsql as $$
declare
  joined jsonb;
begin
  if keep then
    update free_ranges set free_since = '-infinity' where block_id = block;
    return;
  end if;
  joined := (select jsonb_agg(to_jsonb(j) || jsonb_build_object('block_id', block))
    from joined_ranges(block) j);
  delete from free_ranges where block_id = block;
  insert into free_ranges (block_id, first, last, purpose, excluded_octets)
  select r.block_id, r.first, r.last, r.purpose, r.excluded_octets
  from jsonb_populate_recordset(null::free_ranges, coalesce(joined, '[]')) r;
end $$;
