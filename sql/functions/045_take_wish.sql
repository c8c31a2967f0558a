-- A request for allocations, as a batch holds many.
drop type if exists allocation_request cascade;
create type allocation_request as (
  request int,         -- Names the request in the answer.
  ids uuid[],          -- One for each allocation that is wanted; of a network, for each family.
  block_id uuid,       -- From this block,
  network_id uuid,     -- or from the subnets of this network:
  families int[],      -- one of each of these IP versions,
  partial boolean,     -- of fewer of them if some cannot be had,
  subnet_tags text[],  -- in subnets that have all these tags.
  address inet,        -- This address, or this prefix,
  fallback boolean,    -- or, if it is taken, the next one.
  candidates inet[],   -- In a block whose addresses are generated: the first of these that is free.
  prefix_length int,   -- A free prefix of this length,
  contiguous boolean,  -- of which the first cardinality(ids) addresses are taken one by one.
  purpose text,        -- What rules may keep ranges for.
  one_per_owner boolean, -- What the owner has there is as good.
  lifetime_seconds bigint, -- A hold, for so long.
  project_id text,
  owner_type text,
  owner_id text,
  name text,
  tags text[],
  needs_grant boolean, -- The rules allow it only under a grant:
  grant_id uuid,       -- this one, when it has been found.
  caller text,         -- Who asks, with a key for asking again, and the fingerprint of the request.
  idempotency_key text,
  fingerprint text,
  caller_id bigint,    -- In whose name, for the audit trail.
  request_id uuid,
  global_request_id uuid
);

-- Why a wanted address or prefix of a block cannot be had.
create or replace function why_not_free(
  block blocks, wish allocation_request, wanted inet, out refusal text, out detail text)
language plpgsql stable as $$
declare
  kept kept_ranges;
  waiting quarantine;
  shown text := case when wanted = first_of(wanted) then host(wanted) else wanted::text end;
begin
  if not wanted <<= block.cidr then
    refusal := 'address_outside_block';
  elsif exists (
    select from allocations a where a.scope_id = block.scope_id and a.address = wanted
    union all
    select from allocations a
    where a.scope_id = block.scope_id and a.is_prefix and a.address && wanted
    union all
    select from allocations a
    where a.scope_id = block.scope_id and a.address > wanted and a.address <= last_of(wanted)
  ) then
    refusal := 'address_taken';
  else
    select * into waiting from quarantine q
    where q.scope_id = block.scope_id and q.address && wanted limit 1;
    if waiting.address is not null then
      refusal := 'address_quarantined';
      detail := format('%s is in quarantine until %s: only who had it last can take it back.',
        waiting.address, iso_time(waiting.quarantined_until));
      return;
    end if;
    refusal := 'address_excluded';
    select * into kept from kept_ranges k
    where k.block_id = block.id and k.last >= first_of(wanted) and k.first <= last_of(wanted)
      and (k.purpose is null or k.purpose is distinct from wish.purpose)
    order by k.last limit 1;
    if kept.block_id is null and wanted = first_of(wanted)
      and last_octet(wanted) = any (block.excluded_octets) then
      detail := format('%s is excluded by %s.', shown, regexp_replace(
        block.excluded_octets_reason, '(`, last octet ){octet}',
        '\1' || last_octet(wanted)));
    elsif kept.block_id is null then
      refusal := 'address_taken'; -- By another request of the batch, so that nobody has it yet.
    elsif kept.reason not like 'policy %' then
      detail := format('%s %s the %s of %s.', shown,
        case when shown = host(wanted) then 'is' else 'holds' end, kept.reason, block.cidr);
    elsif kept.purpose is null then
      detail := format('%s is excluded by %s.', shown, kept.reason);
    else
      detail := format('%s is kept back by %s.', shown, kept.reason);
    end if;
  end if;
end $$;

-- Whether a single address can be taken for a purpose.
create or replace function is_usable(block blocks, wanted inet, wanted_purpose text)
returns boolean language sql stable as $$
  select coalesce((
    select f.first <= wanted and f.purpose in ('', coalesce(wanted_purpose, ''))
      and last_octet(wanted) <> all (coalesce(block.excluded_octets, '{}'))
    from free_ranges f where f.block_id = block.id and f.last >= wanted
    order by f.last limit 1), false)
$$;

-- The allocation for whose owner an address or prefix waits, if that is the one who asks for it.
create or replace function waits_for(block blocks, wish allocation_request, wanted inet)
returns uuid language sql stable as $$
  select q.allocation_id from quarantine q join allocation_history h on h.id = q.allocation_id
  where q.scope_id = block.scope_id and q.address && wanted and q.address = wanted
    and q.block_id = block.id
    and h.project_id = wish.project_id and h.owner_id = wish.owner_id
    and h.owner_type is not distinct from wish.owner_type
$$;

-- Whoever had an address last takes it out of quarantine; true if it was theirs.
create or replace function take_back(block blocks, wish allocation_request, wanted inet)
returns boolean language plpgsql as $$
begin
  delete from quarantine q where q.allocation_id = waits_for(block, wish, wanted);
  return found;
end $$;

-- The smallest free prefix of a length at least, whose first `wanted` addresses have none of the
-- excluded octets.
create or replace function find_contiguous(
  block blocks, length int, wanted int, from_pool text)
returns inet language plpgsql as $$
declare
  run record;
  start inet;
begin
  if coalesce(block.excluded_octets, '{}') = '{}' then
    return find_prefix(block.id, length, from_pool);
  end if;
  if wanted > 255 then
    return null;
  end if;
  for run in
    select f.first, f.last, f.largest_prefix from free_ranges f
    where f.block_id = block.id and f.largest_prefix <= length and f.purpose = from_pool
      and block.strategy <> 'least_recently_used'
    union all
    -- Neighbours of different ages may have together what none has alone.
    select j.first, j.last, p.largest_prefix
    from joined_ranges(block.id) j, largest_prefix_length(j.first, j.last) p (largest_prefix)
    where block.strategy = 'least_recently_used'
      and j.purpose = from_pool and p.largest_prefix <= length
    order by largest_prefix desc, last
  loop
    start := first_of(set_masklen(run.first, length));
    if start < run.first then
      start := last_of(set_masklen(run.first, length)) + 1;
    end if;
    for n in 0..255 loop
      exit when last_of(set_masklen(start, length)) > run.last;
      if usable_end(start, run.last, wanted, block.excluded_octets) - start + 1 = wanted
        and last_octet(start) <> all (block.excluded_octets) then
        return set_masklen(start, length);
      end if;
      exit when last_of(set_masklen(start, length)) = run.last;
      start := last_of(set_masklen(start, length)) + 1;
    end loop;
  end loop;
  return null;
end $$;

-- Takes what a request names: an address, a prefix, a free prefix of a length, the first addresses
-- of one, or one of the candidates. Either the addresses or the reason why not.
create or replace function take_wish(
  block blocks, wish allocation_request,
  out addresses inet[], out refusal text, out detail text)
language plpgsql as $$
declare
  pool text := pool_for(block, wish.purpose);
  candidate inet;
  prefix inet;
  start inet;
  stop inet;
begin
  if wish.address is not null then
    prefix := wish.address;
  elsif wish.candidates is not null then
    foreach candidate in array wish.candidates loop
      continue when not candidate <<= block.cidr;
      prefix := coalesce(prefix, candidate); -- What a refusal names.
      if take_back(block, wish, candidate) then
        addresses := array[candidate];
        return;
      end if;
      if is_usable(block, candidate, wish.purpose) then
        prefix := candidate;
        exit;
      end if;
    end loop;
    if prefix is null then
      refusal := 'generator_needs_input';
      return;
    end if;
  elsif wish.contiguous or wish.prefix_length = masklen(first_of(block.cidr)) then
    prefix := find_contiguous(block, wish.prefix_length, cardinality(wish.ids), pool);
  else
    prefix := find_prefix(block.id, wish.prefix_length, pool);
  end if;
  if prefix is null then
    refusal := 'no_free_prefix';
    return;
  end if;
  start := first_of(prefix);
  stop := last_of(prefix);
  if not prefix <<= block.cidr then
    refusal := 'address_outside_block';
  elsif wish.contiguous then
    addresses := array(select start + n from generate_series(0, cardinality(wish.ids) - 1) n);
    perform take_range(block.id, start, addresses[cardinality(addresses)]);
  elsif start = stop then
    if block.excluded_octets is null or is_usable(block, prefix, wish.purpose) then
      if take_range(block.id, start, stop) then
        addresses := array[prefix];
      end if;
    end if;
    if addresses is null and take_back(block, wish, prefix) then
      addresses := array[prefix];
    end if;
  elsif block.excluded_octets is null or not exists (
    select from kept_ranges k
    where k.block_id = block.id and k.last >= start and k.first <= stop
      and (k.purpose is null or k.purpose is distinct from wish.purpose)
  ) then
    if take_range(block.id, start, stop) then
      addresses := array[prefix];
      update block_usage u
      set excluded = u.excluded - count_octets(start, stop, block.excluded_octets)
      where u.block_id = block.id and block.excluded_octets <> '{}';
    elsif take_back(block, wish, prefix) then
      addresses := array[prefix];
    end if;
  end if;
  if addresses is null and refusal is null then
    select w.refusal, w.detail into refusal, detail from why_not_free(block, wish, prefix) w;
  end if;
end $$;
