-- I8: claims the keys of a batch, a JSON array of requests; the numbers of those that are to be
-- done. A concurrent request with the same key waits here, before it has locked anything else.
create or replace function claim_keys(batch jsonb) returns int[]
language sql as $$
  with requests as (
    select * from jsonb_to_recordset(batch)
      as r (request int, caller text, idempotency_key text, fingerprint text)
  ), claimed as (
    insert into idempotency_keys (caller, key, fingerprint)
    select distinct on (r.caller, r.idempotency_key) r.caller, r.idempotency_key,
      decode(r.fingerprint, 'hex')
    from requests r where r.idempotency_key is not null
    order by r.caller, r.idempotency_key, r.request
    on conflict do nothing returning caller, key
  )
  select coalesce(array_agg(request), '{}') from (
    select r.request from requests r where r.idempotency_key is null
    union all
    select min(r.request) from requests r
      join claimed c on (c.caller, c.key) = (r.caller, r.idempotency_key)
    group by c.caller, c.key
  ) todo
$$;

-- Keeps the answers of the requests that were done, and forgets the keys of those refused.
create or replace function settle_keys(
  requests allocation_request[], done_by int[], done_ids uuid[]) returns void
language sql as $$
  delete from idempotency_keys k using unnest(requests) r
  where (k.caller, k.key) = (r.caller, r.idempotency_key) and r.request <> all (done_by);
  update idempotency_keys k set answer = a.answer
  from (
    select r.caller, r.idempotency_key,
      json_agg(allocation_document(a) order by d.position) as answer
    from unnest(requests) r
      join unnest(done_by, done_ids) with ordinality d (request, id, position)
        on d.request = r.request
      join allocations a on a.id = d.id
    where r.idempotency_key is not null
    group by r.caller, r.idempotency_key
  ) a
  where (k.caller, k.key) = (a.caller, a.idempotency_key)
$$;

-- What an owner holds of a block, or of one IP version of a network: the first of it.
create or replace function held_by_owner(wish allocation_request, block uuid, version int)
returns allocations language sql stable as $$
  select a from allocations a join blocks b on b.id = a.block_id
  where a.owner_id = wish.owner_id and a.project_id = wish.project_id
    and a.owner_type is not distinct from wish.owner_type
    and (a.expires_at is null or a.expires_at > wall_time())
    and (a.block_id = block
      or block is null and b.network_id = wish.network_id and family(a.address) = version)
  order by a.id limit 1
$$;

-- Whether any single addresses of a block will do.
create or replace function is_any_of_block(wish allocation_request) returns boolean
language sql immutable as $$
  select wish.address is null and wish.prefix_length is null and wish.one_per_owner is not true
$$;

-- The requests of a batch that any single addresses of a block will do for, without those refused:
-- each once for every address, with the id that its allocation will have, in the order of asking.
create or replace function plain_requests(
  requests allocation_request[], block uuid, refused int[], out wanted_by int[], out ids uuid[])
language plpgsql as $$
begin
  select coalesce(array_agg(r.request), '{}'), coalesce(array_agg(i.id), '{}')
  into wanted_by, ids
  from unnest(requests) r, unnest(r.ids) i (id)
  where r.block_id = block and is_any_of_block(r) and r.request <> all (refused);
end $$;

-- Takes what one request wants of a block; all of it, or the reason why not.
create or replace function take_one(
  block blocks, wish allocation_request, at timestamptz,
  out addresses inet[], out refusal text, out detail text)
language plpgsql as $$
declare
  wanted int := cardinality(wish.ids);
  pool text := pool_for(block, wish.purpose);
begin
  if wish.address is not null or wish.prefix_length is not null
    or block.ipv6_generator is not null then
    if wish.address is null and wish.prefix_length is null then
      if wanted > 1 then
        refusal := 'generator_needs_input';
        detail := 'The policy makes one address of a MAC address or an interface: ask one by one.';
        return;
      end if;
      wish.candidates := coalesce(wish.candidates, '{}');
    else
      wish.candidates := null;
    end if;
    select w.addresses, w.refusal, w.detail into addresses, refusal, detail
    from take_wish(block, wish) w;
    if refusal is null or not coalesce(wish.fallback, false)
      or refusal not in ('address_taken', 'address_excluded', 'address_quarantined') then
      return;
    end if;
    refusal := null;
    detail := null;
  end if;
  if reuse_quarantine(block, pool, missing_in_pool(block, pool, wanted), at) then
    addresses := take_addresses(block, wanted, pool);
  else
    refusal := 'block_full';
    if pool <> '' then
      detail := format('Block %s has fewer than %s free addresses for `%s`.',
        block.cidr, wanted, pool);
    end if;
  end if;
end $$;

-- Whether a block can give what one request wants of it for one IP version.
create or replace function can_serve(block blocks, wish allocation_request, wanted int)
returns boolean language plpgsql stable as $$
begin
  if block.ipv6_generator is not null then
    return wanted = 1 and exists (
      select from unnest(wish.candidates) c
      where c <<= block.cidr
        and (is_usable(block, c, wish.purpose) or waits_for(block, wish, c) is not null));
  end if;
  return block.excluded_octets is null or pool_holds(block, pool_for(block, wish.purpose), wanted);
end $$;

-- The IPv6 /64s that a request takes of a block.
create or replace function ipv6_64s_of(wish allocation_request, block blocks) returns numeric
language sql immutable as $$
  select case when wish.address is not null then ipv6_64s(wish.address)
    when family(block.cidr) = 6 and wish.prefix_length <= 64 and wish.contiguous is not true
    then power(2::numeric, 64 - wish.prefix_length)::numeric(20, 0) else 0 end
$$;

-- A certain address of a network is one of the subnet in which it lies.
create or replace function place_in_network(wish allocation_request) returns allocation_request
language plpgsql stable as $$
begin
  if wish.network_id is not null and wish.address is not null then
    wish.block_id := coalesce((
      select b.id from blocks b join block_usage u on u.block_id = b.id
      where b.network_id = wish.network_id and b.cidr >>= wish.address and u.in_children = 0),
      wish.network_id); -- Which is no block.
  end if;
  return wish;
end $$;

-- A request for a part of what another one wants.
create or replace function with_ids(wish allocation_request, ids uuid[])
returns allocation_request language plpgsql immutable as $$
begin
  wish.ids := ids;
  return wish;
end $$;

-- Whether all of a block's free space is free for every single address.
create or replace function is_ordinary(block blocks) returns boolean language sql immutable as $$
  select block.excluded_octets is null and block.ipv6_generator is null
$$;

-- Where a request to a network is served for one IP version, among the locked blocks (of which
-- `used` has been taken or promised): a position there, or why nowhere. It changes nothing: what
-- ends its quarantine for the request does so when it is sure that the request is granted.
create or replace function find_subnet(
  wish allocation_request, version int, wanted int, locked uuid[], used numeric[],
  out place int, out refusal text, out detail text)
language plpgsql stable as $$
declare
  is_spread boolean := coalesce((
    select p.rules ->> 'subnet_selection' = 'spread'
    from networks n join policies p on p.id = n.policy_id where n.id = wish.network_id), false);
  is_reuse boolean;
  can_reuse boolean;
  missing bigint;
  subnet record;
  seen int := 0;
begin
  foreach is_reuse in array array[false, true] loop
    for subnet in
      select l.place, b as block, u.free - l.used as free
      from unnest(locked, used) with ordinality l (id, used, place)
        join blocks b on b.id = l.id join block_usage u on u.block_id = l.id
      where b.id in (
        select serving_subnets(wish.network_id, version, wish.subnet_tags, wish.purpose))
      order by b.priority,
        case when is_spread then (u.total - u.free + l.used) / u.total else 0 end, b.cidr
    loop
      seen := seen + 1;
      if is_reuse then
        continue when (subnet.block).ipv6_generator is not null;
        missing := case when is_ordinary(subnet.block) then wanted - subnet.free
          else missing_in_pool(subnet.block, pool_for(subnet.block, wish.purpose), wanted) end;
        can_reuse := cardinality(
          reusable(subnet.block, pool_for(subnet.block, wish.purpose), missing)) = missing;
      end if;
      if can_reuse or subnet.free >= wanted and can_serve(subnet.block, wish, wanted) then
        place := subnet.place;
        return;
      end if;
      if (subnet.block).ipv6_generator is not null and (wanted > 1 or not exists (
        select from unnest(wish.candidates) c where c <<= (subnet.block).cidr)) then
        refusal := 'generator_needs_input';
      end if;
    end loop;
  end loop;
  refusal := case
    when exists (
      select from serving_subnets(wish.network_id, version, wish.subnet_tags, wish.purpose) s (id)
        join blocks b on b.id = s.id join block_usage u on u.block_id = b.id
      where b.id <> all (locked) and has_room(b, u.free, wish.purpose, wanted))
      then 'again'
    when not exists (select from networks n where n.id = wish.network_id) then 'network_not_found'
    when refusal is not null then refusal
    when seen = 0 then 'no_subnet'
    else 'network_full' end;
  detail := case refusal
    when 'no_subnet' then format('Network %s has no IPv%s subnet%s.', wish.network_id, version,
      case when wish.subnet_tags <> '{}' then ' with the tags ' || array_to_string(
        wish.subnet_tags, ', ') else '' end)
    when 'network_full' then format('No IPv%s subnet of network %s has %s free.', version,
      wish.network_id, case when wanted = 1 then 'an address' else wanted || ' addresses' end)
    end;
end $$;

-- What an owner shall have but once it may ask for at two places that share no block: whoever asks
-- so for the same owner waits here, before it has locked a block.
create or replace function lock_owners(requests allocation_request[]) returns void
language plpgsql as $$
declare
  owner bigint;
begin
  for owner in
    select distinct hashtextextended(concat_ws('/', r.project_id, r.owner_type, r.owner_id), 1) key
    from unnest(requests) r where r.one_per_owner order by key
  loop
    perform pg_advisory_xact_lock(owner);
  end loop;
end $$;

-- What a request counts under a grant; nothing for what its owner has already.
create or replace function weight_of(wish allocation_request) returns numeric
language plpgsql stable as $$
declare
  block_cidr cidr;
  missing int;
begin
  if wish.one_per_owner then
    missing := (
      select count(*) from unnest(coalesce(wish.families, '{0}')) f
      where (held_by_owner(wish, wish.block_id, f)).id is null);
    if missing = 0 or wish.families is not null then
      return missing;
    end if;
  end if;
  if wish.address is not null then
    return grant_weight(wish.address);
  elsif wish.prefix_length is not null and wish.contiguous is not true then
    select b.cidr into block_cidr from blocks b where b.id = wish.block_id;
    return case when wish.prefix_length between masklen(block_cidr)
      and masklen(first_of(block_cidr)) then grant_weight(set_masklen(block_cidr::inet,
      wish.prefix_length)) else 1 end; -- Another length is refused for what it is.
  end if;
  return cardinality(wish.ids);
end $$;

-- Finds the grants of those requests that need one, which are locked. Answers these requests with
-- their grants, and those that have none, each with the reason.
create or replace function find_grants(
  requests allocation_request[],
  out granted allocation_request[], out refused int[], out refusals text[], out details text[])
language plpgsql as $$
declare
  wish allocation_request;
  chosen record;
  promised jsonb := '{}';
begin
  granted := '{}';
  refused := '{}';
  refusals := '{}';
  details := '{}';
  for wish in select * from unnest(requests) r order by r.request loop
    if wish.needs_grant then
      select * into chosen from choose_grant(wish.project_id,
        case when wish.network_id is null then wish.block_id end, wish.network_id,
        weight_of(wish), promised);
      if chosen.refusal is not null then
        refused := refused || wish.request;
        refusals := refusals || chosen.refusal;
        details := details || chosen.detail;
        continue;
      end if;
      wish.grant_id := chosen.grant_id;
      promised := promised || jsonb_build_object(chosen.key,
        coalesce((promised ->> chosen.key)::numeric, 0) + weight_of(wish));
    end if;
    granted := granted || wish;
  end loop;
end $$;

-- One batch of allocate requests in one transaction: a JSON array of allocation_request. Every
-- request has its own outcome. Answers a row for each allocation, or one with a refusal; rows with
-- an answer tell of allocations that were there before. `again` refuses what can only be done
-- after this batch.
create or replace function allocate_addresses(batch jsonb)
returns table (
  request int, id uuid, block_id uuid, scope_id uuid, address inet, started_at timestamptz,
  expires_at timestamptz, refusal text, detail text, answer json)
language plpgsql
-- Plans are kept, and may have been made when a table was empty: it will not stay so.
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  requests allocation_request[] := array(
    select r from jsonb_populate_recordset(null::allocation_request, batch) r);
  todo int[];
  granted allocation_request[];
  wish allocation_request;
  has_keys boolean;
  has_networks boolean;
  blocks_named int;
  has_grants boolean; -- That needs a grant.
  has_owners boolean; -- Who shall have something but once.
  is_plain boolean; -- All of them want any single addresses of a block, and no more.
  -- The blocks, each with what this batch has taken of it or promised.
  subnets uuid[] := '{}'; -- Of the networks that requests name.
  locked uuid[] := '{}';
  locked_blocks blocks[] := '{}';
  times timestamptz[] := '{}';
  used numeric[] := '{}';
  usage block_usage;
  usages block_usage[];
  lapsed_max constant int := 1000; -- Of each block; the background does the rest.
  block blocks;
  place int;
  is_limited boolean; -- Whether there are any quotas.
  room jsonb := '{}'; -- What quotas leave; `{}` if nobody is limited.
  less_room jsonb;
  rest_of_room jsonb;
  held allocations;
  owner_key text;
  owners text[] := '{}'; -- For whom this batch takes what shall be there but once.
  addresses inet[];
  why text;
  why_detail text;
  places int[]; -- Where a request to a network is served, for each IP version.
  count_each int;
  ids uuid[];
  due_by int[] := '{}'; -- What is promised, but not yet taken.
  due_ids uuid[] := '{}';
  due_from int[] := '{}';
  plain int[]; -- By whom the `ids` are wanted that any addresses of the block at hand will do for.
  free numeric;
  size numeric; -- Of what a request takes, in addresses.
  in_reach numeric; -- With what can be given back before its time.
  wanted bigint;
  refused int[] := '{}';
  refusals text[] := '{}';
  details text[] := '{}';
  taken_by int[] := '{}';
  taken_ids uuid[] := '{}';
  taken_from uuid[] := '{}';
  taken inet[] := '{}';
  had_by int[] := '{}'; -- What requests find that their owner has already.
  had_ids uuid[] := '{}';
  lapsed uuid[] := '{}';
  added allocations[];
begin
  select count(r.idempotency_key) > 0, count(r.network_id) > 0, bool_or(r.one_per_owner),
    count(distinct r.block_id), bool_and(r.network_id is null and is_any_of_block(r)),
    bool_or(r.needs_grant)
  into has_keys, has_networks, has_owners, blocks_named, is_plain, has_grants
  from unnest(requests) r;
  if has_keys then
    todo := claim_keys(batch);
    return query
      select r.request, null::uuid, null::uuid, null::uuid, null::inet, null::timestamptz,
        null::timestamptz, case when k.fingerprint <> decode(r.fingerprint, 'hex')
          then 'idempotency_key_reused' when k.answer is null then 'again' end,
        null::text, k.answer
      from unnest(requests) r
        join idempotency_keys k on (k.caller, k.key) = (r.caller, r.idempotency_key)
      where r.request <> all (todo);
    requests := array(select r from unnest(requests) r where r.request = any (todo));
  end if;
  if has_owners then
    perform lock_owners(requests);
  end if;
  if has_networks then
    requests := array(select place_in_network(r) from unnest(requests) r);
    subnets := array(
      select s.id
      from (
        select distinct r.network_id, f as version, r.subnet_tags, r.purpose,
          cardinality(r.ids) / cardinality(r.families) as wanted
        from unnest(requests) r, unnest(r.families) f where r.block_id is null
      ) r, unnest(subnets_in_order(r.network_id, r.version, r.subnet_tags, r.purpose, r.wanted))
        with ordinality s (id, n)
      where s.n <= subnets_max());
  end if;

  usages := array(
    select u from lock_blocks(array(
      select distinct r.block_id from unnest(requests) r where r.block_id is not null)
      || subnets) u);
  is_limited := lock_usage_of(requests, usages, lapsed_max);
  foreach usage in array usages loop
    continue when usage.in_children > 0;
    select * into block from blocks b where b.id = usage.block_id;
    if usage.held + usage.quarantined > 0 then
      lapsed := lapsed
        || reclaim_block(block, least(usage.changed_at, lapse_limit()), lapsed_max);
    end if;
    locked := locked || block.id;
    locked_blocks := locked_blocks || block;
    times := times || usage.changed_at;
    used := used || 0::numeric;
  end loop;
  if is_limited then
    room := quota_room(
      array(select distinct r.project_id from unnest(requests) r),
      array(select distinct b.scope_id from unnest(locked_blocks) b));
  end if;
  if has_grants then
    -- A statement of its own, which sees what the locks were waited for.
    select f.granted, f.refused, f.refusals, f.details into granted, refused, refusals, details
    from find_grants(requests) f;
    if has_keys and cardinality(refused) > 0 then
      perform settle_keys(
        array(select r from unnest(requests) r where r.request = any (refused)), '{}', '{}');
    end if;
    requests := granted;
  end if;

  -- First what names an address, a prefix or an owner, and what rules make laborious.
  for place in 1..cardinality(locked) loop
    block := locked_blocks[place];
    continue when is_plain and is_ordinary(block);
    for wish in select * from unnest(requests) r where r.block_id = block.id order by r.request
    loop
      continue when is_ordinary(block) and is_any_of_block(wish);
      why := null;
      why_detail := null;
      less_room := null;
      if wish.one_per_owner then
        held := held_by_owner(wish, block.id, null);
        if held.id is not null then
          had_by := had_by || wish.request;
          had_ids := had_ids || held.id;
          continue;
        end if;
        owner_key := concat_ws('/', block.id, wish.project_id, wish.owner_type, wish.owner_id);
        if owner_key = any (owners) then
          why := 'again';
        end if;
      end if;
      if why is null and room <> '{}' then
        less_room := use_quota(room, wish.project_id, block.scope_id, cardinality(wish.ids),
          ipv6_64s_of(wish, block));
        if less_room is null then
          why := 'quota_exceeded';
          why_detail := quota_reached(room, wish.project_id, block.scope_id,
            cardinality(wish.ids), ipv6_64s_of(wish, block));
        end if;
      end if;
      if why is null then
        if is_ordinary(block) and wish.address = first_of(wish.address)
          and take_range(block.id, wish.address, wish.address) then
          addresses := array[wish.address];
          size := 1;
        else
          select w.addresses, w.refusal, w.detail into addresses, why, why_detail
          from take_one(block, wish, times[place]) w;
          size := (select sum(address_count(a)) from unnest(addresses) a);
        end if;
      end if;
      if why is null then
        room := coalesce(less_room, room);
        used[place] := used[place] + size;
        taken_by := taken_by || array_fill(wish.request, array[cardinality(wish.ids)]);
        taken_ids := taken_ids || wish.ids;
        taken_from := taken_from || array_fill(block.id, array[cardinality(wish.ids)]);
        taken := taken || addresses;
        if wish.one_per_owner then
          owners := owners || owner_key || concat_ws(
            '/', block.network_id, wish.project_id, wish.owner_type, wish.owner_id);
        end if;
      else
        refused := refused || wish.request;
        refusals := refusals || why;
        details := details || why_detail;
      end if;
    end loop;
  end loop;

  -- Then networks: all IP versions of a request find a place, or none is taken.
  if has_networks then
    for wish in
      select * from unnest(requests) r
      where r.network_id is not null and r.block_id is null order by r.request
    loop
      count_each := cardinality(wish.ids) / cardinality(wish.families);
      places := '{}';
      why := null;
      why_detail := null;
      less_room := room;
      owner_key := concat_ws('/', wish.network_id, wish.project_id, wish.owner_type, wish.owner_id);
      for n in 1..cardinality(wish.families) loop
        place := null;
        if wish.one_per_owner then
          if owner_key = any (owners) then
            why := 'again';
            exit;
          end if;
          held := held_by_owner(wish, null, wish.families[n]);
          if held.id is not null then
            places := places || 0;
            continue;
          end if;
        end if;
        select s.place, s.refusal, s.detail into place, why, why_detail
        from find_subnet(wish, wish.families[n], count_each, locked, used) s;
        if place is not null then
          rest_of_room := use_quota(less_room, wish.project_id, locked_blocks[place].scope_id,
            count_each, 0);
          if rest_of_room is null then
            why := 'quota_exceeded';
            why_detail := quota_reached(room, wish.project_id, locked_blocks[place].scope_id,
              count_each, 0, less_room);
            place := null;
          else
            less_room := rest_of_room;
          end if;
        end if;
        places := places || place;
        exit when place is null and (wish.partial is not true or why = 'again');
      end loop;
      if why = 'again' or array_position(places, null) is not null
        and (wish.partial is not true or array_remove(places, null) = '{}') then
        refused := refused || wish.request;
        refusals := refusals || why;
        details := details || why_detail;
        continue;
      end if;
      room := less_room;
      if wish.one_per_owner then
        owners := owners || owner_key;
      end if;
      for n in 1..cardinality(places) loop
        place := places[n];
        continue when place is null;
        if place = 0 then
          held := held_by_owner(wish, null, wish.families[n]);
          had_by := had_by || wish.request;
          had_ids := had_ids || held.id;
          continue;
        end if;
        block := locked_blocks[place];
        if is_ordinary(block) then
          free := (select u.free from block_usage u where u.block_id = block.id) - used[place];
          if count_each > free then
            perform reuse_quarantine(block, '', (count_each - free)::bigint, times[place]);
          end if;
        end if;
        used[place] := used[place] + count_each;
        ids := wish.ids[(n - 1) * count_each + 1 : n * count_each];
        if is_ordinary(block) then
          due_by := due_by || array_fill(wish.request, array[count_each]);
          due_ids := due_ids || ids;
          due_from := due_from || array_fill(place, array[count_each]);
        else
          select t.addresses into addresses
          from take_one(block, with_ids(wish, ids), times[place]) t;
          taken_by := taken_by || array_fill(wish.request, array[count_each]);
          taken_ids := taken_ids || ids;
          taken_from := taken_from || array_fill(locked[place], array[count_each]);
          taken := taken || addresses;
        end if;
      end loop;
    end loop;
  end if;

  -- Last what any single addresses of an ordinary block will do for: one run of them for all.
  for place in 1..cardinality(locked) loop
    block := locked_blocks[place];
    continue when not is_ordinary(block);
    select p.wanted_by, p.ids into plain, ids from plain_requests(requests, block.id, refused) p;
    wanted := cardinality(ids);
    free := (select u.free from block_usage u where u.block_id = block.id) - used[place];
    in_reach := free;
    if wanted > free then
      in_reach := free + cardinality(reusable(block, '', (wanted - free)::bigint));
    end if;
    if wanted > in_reach or wanted > 0 and room <> '{}' then
      -- Not enough for all: in the order of asking, whoever can be served in full is.
      wanted := 0;
      for wish in select * from unnest(requests) r where r.request = any (plain) loop
        less_room := use_quota(room, wish.project_id, block.scope_id, cardinality(wish.ids), 0);
        if less_room is not null and wanted + cardinality(wish.ids) <= in_reach then
          wanted := wanted + cardinality(wish.ids);
          room := less_room;
        else
          refused := refused || wish.request;
          refusals := refusals
            || case when less_room is null then 'quota_exceeded' else 'block_full' end;
          details := details || case when less_room is null then quota_reached(
            room, wish.project_id, block.scope_id, cardinality(wish.ids), 0) end;
        end if;
      end loop;
      select p.wanted_by, p.ids into plain, ids from plain_requests(requests, block.id, refused) p;
    end if;
    taken_by := taken_by || plain;
    taken_ids := taken_ids || ids;
    if wanted > free then
      perform reuse_quarantine(block, '', (wanted - free)::bigint, times[place]);
    end if;
    if place = any (due_from) then
      select taken_by || array_agg(d.request order by n), taken_ids || array_agg(d.id order by n),
        wanted + count(*) into taken_by, taken_ids, wanted
      from unnest(due_by, due_ids, due_from) with ordinality d (request, id, source, n)
      where d.source = place;
    end if;
    continue when wanted = 0;
    taken := taken || take_addresses(block, wanted, '');
    taken_from := taken_from || array_fill(block.id, array[wanted::int]);
    if cardinality(taken) <> cardinality(taken_ids) then
      raise exception 'Block % counts more free addresses than it has.', block.id;
    end if;
  end loop;

  if cardinality(taken) > 0 then
    with inserted as (
      insert into allocations (id, scope_id, block_id, address, project_id, owner_type, owner_id,
        name, tags, started_at, expires_at, grant_id)
      select t.id, b.scope_id, b.id, t.address, r.project_id, r.owner_type, r.owner_id,
        coalesce(r.name, ''), coalesce(r.tags, '{}'), u.changed_at,
        u.changed_at + make_interval(secs => r.lifetime_seconds), r.grant_id
      from unnest(taken_by, taken_ids, taken_from, taken) t (request, id, block_id, address)
        join unnest(requests) r on r.request = t.request
        join blocks b on b.id = t.block_id
        join block_usage u on u.block_id = b.id
      returning allocations as a -- As such; a row of this statement would have to become one.
    )
    select array_agg(a) into added from inserted;
  end if;
  if has_keys then
    perform settle_keys(requests, taken_by || had_by, taken_ids || had_ids);
  end if;
  if cardinality(taken) + cardinality(lapsed) > 0 then
    perform lock_events();
    perform append_ended(lapsed, null) where cardinality(lapsed) > 0;
    perform append_started(added, array(
      select (t.id, r.caller_id, r.request_id, r.global_request_id)::doer
      from unnest(taken_by, taken_ids) t (request, id)
        join unnest(requests) r on r.request = t.request
      where r.caller_id is not null));
  end if;

  return query
    select t.request, a.id, a.block_id, a.scope_id, a.address, a.started_at, a.expires_at,
      null::text, null::text, null::json
    from unnest(taken_by, taken_ids) with ordinality t (request, id, position)
      join unnest(added) a on a.id = t.id
    order by position;
  if cardinality(had_by) + cardinality(refused) > 0 or has_networks
    or cardinality(locked) < blocks_named
  then
    return query
      select h.request, a.id, a.block_id, a.scope_id, a.address, a.started_at, a.expires_at,
        null, null, allocation_document(a)
      from unnest(had_by, had_ids) h (request, id) join allocations a on a.id = h.id
      union all
      select x.request, null, null, null, null, null, null, x.refusal, x.detail, null
      from unnest(refused, refusals, details) x (request, refusal, detail)
      union all
      select w.request, null, null, null, null, null, null,
        case when w.network_id is null and u.block_id is null then 'block_not_found'
          when w.network_id is null then 'block_has_children'
          when u.block_id is not null then 'again' -- Its subnet has been divided meanwhile.
          when exists (select from networks n where n.id = w.network_id)
            then 'address_outside_block' else 'network_not_found' end,
        null, null
      from unnest(requests) w left join block_usage u on u.block_id = w.block_id
      where w.block_id is not null and w.block_id <> all (locked);
  end if;
end $$;
