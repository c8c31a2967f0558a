-- What rules keep back, and how free space follows them. The caller has locked the block.

-- An address as a number. PostgreSQL's own differences of addresses end at 2^63.
create or replace function address_number(address inet) returns numeric
language sql immutable strict parallel safe as $$
  select sum(('x' || encode(substring(inet_send(address) from 5 + 4 * n for 4), 'hex'))::bit(32)
    ::bigint::numeric * power(4294967296::numeric, words - 1 - n))
  from (select case family(address) when 4 then 1 else 4 end) w (words),
    generate_series(0, words - 1) n
$$;

create or replace function range_size(first inet, last inet) returns numeric
language sql immutable strict parallel safe as $$
  select address_number(last) - address_number(first) + 1
$$;

-- How many addresses of a range are excluded for their last octet.
create or replace function count_octets(first inet, last inet, excluded smallint[])
returns numeric language sql immutable strict parallel safe as $$
  select coalesce(sum(floor((high - o) / 256) - floor((low - 1 - o) / 256)), 0)
  from (select address_number(first), address_number(last)) n (low, high),
    unnest(excluded) o
$$;

-- Counts what a block keeps back: what is neither free for single addresses nor somebody's.
create or replace function count_excluded(block uuid) returns void language sql as $$
  update block_usage u
  set excluded = u.total - u.allocated - u.held - u.quarantined - u.in_children
    - coalesce((
      select sum(range_size(f.first, f.last)
        - coalesce(count_octets(f.first, f.last, f.excluded_octets), 0))
      from free_ranges f where f.block_id = block), 0)
  where u.block_id = block
$$;

-- Gives back what somebody had, to the purpose that each part of it is kept for; what is kept back
-- from everyone is counted, and does not become free.
create or replace function give_back(
  block blocks, given_first inet, given_last inet, since timestamptz)
returns void language plpgsql as $$
declare
  kept kept_ranges;
  next inet := given_first;
  more_excluded numeric := 0;
begin
  if block.excluded_octets is null then
    perform give_range(block.id, given_first, given_last, age_of(block, since), null);
    return;
  end if;
  for kept in
    select * from kept_ranges k
    where k.block_id = block.id and k.last >= given_first and k.first <= given_last order by k.last
  loop
    if kept.first > next then
      perform give_range(block.id, next, kept.first - 1, age_of(block, since),
        block.excluded_octets);
      more_excluded := more_excluded + count_octets(next, kept.first - 1, block.excluded_octets);
      next := kept.first;
    end if;
    kept.last := least(kept.last, given_last);
    if kept.purpose is null then
      more_excluded := more_excluded + range_size(next, kept.last);
    else
      perform give_range(block.id, next, kept.last, age_of(block, since), block.excluded_octets,
        kept.purpose);
      more_excluded := more_excluded + count_octets(next, kept.last, block.excluded_octets);
    end if;
    if kept.last = given_last then
      next := null;
      exit;
    end if;
    next := kept.last + 1;
  end loop;
  if next is not null then
    perform give_range(block.id, next, given_last, age_of(block, since), block.excluded_octets);
    more_excluded := more_excluded + count_octets(next, given_last, block.excluded_octets);
  end if;
  if more_excluded > 0 then
    update block_usage u set excluded = u.excluded + more_excluded
    where u.block_id = block.id;
  end if;
end $$;

-- Takes out of the free space what there is of first..last; answers the parts that there were.
create or replace function cut_range(block blocks, cut_first inet, cut_last inet)
returns table (first inet, last inet, free_since timestamptz) language plpgsql as $$
declare
  run free_ranges;
begin
  for run in
    select * from free_ranges f
    where f.block_id = block.id and f.last >= cut_first and f.first <= cut_last order by f.last
  loop
    first := greatest(run.first, cut_first);
    last := least(run.last, cut_last);
    free_since := run.free_since;
    if not take_range(block.id, first, last) then
      raise exception 'The free space of block % has %-% no more.', block.id, first, last;
    end if;
    return next;
  end loop;
end $$;

-- The parts of first..last that neither an allocation has nor quarantine.
create or replace function unused_parts(block blocks, range_first inet, range_last inet)
returns table (first inet, last inet) language plpgsql as $$
declare
  used record;
  next inet := range_first;
begin
  for used in
    select greatest(first_of(a.address), range_first) as first,
      least(last_of(a.address), range_last) as last
    from (
      select a.address from allocations a
      where a.scope_id = block.scope_id and a.address between range_first and range_last
      union
      select a.address from allocations a
      where a.scope_id = block.scope_id and a.is_prefix and a.address >>= range_first
      union
      select q.address from quarantine q where q.block_id = block.id
        and first_of(q.address) <= range_last and last_of(q.address) >= range_first
    ) a
    where a.address <<= block.cidr::inet
    order by 1
  loop
    if used.first > next then
      first := next;
      last := used.first - 1;
      return next;
    end if;
    if used.last = range_last then
      return;
    end if;
    next := used.last + 1;
  end loop;
  first := next;
  last := range_last;
  return next;
end $$;

-- Makes a leaf keep back these ranges (first, last, purpose, reason) and octets, and no others.
-- Only what differs is touched, and what somebody holds stays theirs.
create or replace function keep_ranges(
  block_to_change uuid, kept jsonb, octets smallint[], since timestamptz default '-infinity')
returns void language plpgsql as $$
declare
  block blocks;
  old kept_ranges;
  part record;
  more_excluded numeric := 0;
begin
  select * into block from blocks b where b.id = block_to_change;
  if block.excluded_octets is distinct from octets then
    update blocks b set excluded_octets = octets where b.id = block.id;
    update free_ranges f set excluded_octets = octets where f.block_id = block.id;
    block.excluded_octets := octets;
    perform count_excluded(block.id);
  end if;
  since := age_of(block, since);

  for old in
    delete from kept_ranges k where k.block_id = block.id and not exists (
      select from jsonb_populate_recordset(null::kept_ranges, kept) n
      where n.first = k.first and n.last = k.last and n.purpose is not distinct from k.purpose)
    returning *
  loop
    if old.purpose is null then
      for part in select * from unused_parts(block, old.first, old.last) loop
        perform give_range(block.id, part.first, part.last, since, octets);
        more_excluded := more_excluded - range_size(part.first, part.last)
          + coalesce(count_octets(part.first, part.last, octets), 0);
      end loop;
    else
      for part in select * from cut_range(block, old.first, old.last) loop
        perform give_range(block.id, part.first, part.last, part.free_since, octets);
      end loop;
    end if;
  end loop;

  for old in
    insert into kept_ranges as k (block_id, first, last, purpose, reason)
    select block.id, n.first, n.last, n.purpose, n.reason
    from jsonb_populate_recordset(null::kept_ranges, kept) n
    where not exists (
      select from kept_ranges k where k.block_id = block.id and k.last = n.last)
    order by n.last
    returning *
  loop
    for part in select * from cut_range(block, old.first, old.last) loop
      if old.purpose is null then
        more_excluded := more_excluded + range_size(part.first, part.last)
          - coalesce(count_octets(part.first, part.last, octets), 0);
      else
        perform give_range(block.id, part.first, part.last, part.free_since, octets, old.purpose);
      end if;
    end loop;
  end loop;
  update kept_ranges k set reason = n.reason
  from jsonb_populate_recordset(null::kept_ranges, kept) n
  where k.block_id = block.id and k.last = n.last and k.reason <> n.reason;
  update block_usage u set excluded = excluded + more_excluded
  where u.block_id = block.id and more_excluded <> 0;
end $$;

-- Lays the space of a block that has neither allocations nor children anew: all of it is free.
create or replace function reset_space(block_to_reset uuid) returns void language plpgsql as $$
declare
  block blocks;
begin
  delete from kept_ranges k where k.block_id = block_to_reset;
  delete from free_ranges f where f.block_id = block_to_reset;
  update block_usage u set excluded = 0 where u.block_id = block_to_reset;
  update blocks b set excluded_octets = null, excluded_octets_reason = null
  where b.id = block_to_reset returning * into block;
  insert into free_ranges (block_id, first, last, free_since)
  values (block.id, first_of(block.cidr), last_of(block.cidr), age_of(block, '-infinity'));
end $$;
