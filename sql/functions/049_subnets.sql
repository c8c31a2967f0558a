-- How many subnets of a network a batch looks at for one IP version.
create or replace function subnets_max() returns int language sql immutable as $$ select 16 $$;

-- The subnets of a network that may serve a request. Where some keep ranges for its purpose, no
-- others do.
create or replace function serving_subnets(
  network uuid, version int, wanted_tags text[], wanted_purpose text)
returns setof uuid language sql stable as $$
  select id
  from (
    select b.id, k.serves, bool_or(k.serves) over () as some_serve
    from blocks b join block_usage u on u.block_id = b.id,
      lateral (select coalesce(wanted_purpose, '') <> '' and exists (
        select from kept_ranges k
        where k.block_id = b.id and k.purpose = wanted_purpose) as serves) k
    where b.network_id = network and family(b.cidr) = version and u.in_children = 0
      and b.tags @> coalesce(wanted_tags, '{}')
  ) subnets
  where serves or not some_serve
$$;

-- Whether a subnet with so much free space has enough of it for a purpose.
create or replace function has_room(
  block blocks, free numeric, wanted_purpose text, wanted bigint)
returns boolean language sql stable as $$
  select free >= wanted and (block.excluded_octets is null or block.ipv6_generator is not null
    or pool_holds(block, pool_for(block, wanted_purpose), wanted))
$$;

-- These subnets, best first: by priority, then as the policy of the network says. Those without
-- room come after all others, and last those that cannot have any from quarantine either.
create or replace function subnets_in_order(
  network uuid, version int, wanted_tags text[], wanted_purpose text, wanted bigint)
returns uuid[] language sql stable as $$
  select array_agg(id order by rank, priority, share, cidr)
  from (
    select b.id, b.priority, b.cidr,
      case when has_room(b, u.free, wanted_purpose, wanted) then 0
        when b.quarantine_reuse and u.quarantined > 0 then 1 else 2 end as rank,
      case when (
        select p.rules ->> 'subnet_selection' from networks n join policies p on p.id = n.policy_id
        where n.id = network) = 'spread' then (u.total - u.free) / u.total else 0 end as share
    from serving_subnets(network, version, wanted_tags, wanted_purpose) s (id)
      join blocks b on b.id = s.id join block_usage u on u.block_id = b.id
    order by rank, priority, share, cidr limit 256
  ) subnets
$$;
