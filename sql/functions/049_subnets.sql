-- How many subnets of a network a batch looks at for one IP version.
create or replace function subnets_max() returns int language sql immutable as $$ select 16 $$;

-- The subnets of a network that can serve a request, best first, full ones last: by priority, then
-- as the policy of the network says. Where some keep ranges for the purpose, no others serve it.
create or replace function subnets_in_order(
  network uuid, version int, wanted_tags text[], wanted_purpose text)
returns uuid[] language sql stable as $$
  select array_agg(id order by is_full, priority, share, cidr)
  from (
    select b.id, b.priority, b.cidr, u.free = 0 as is_full,
      case when r.selection = 'spread' then (u.total - u.free) / u.total else 0 end as share,
      k.serves, bool_or(k.serves) over () as some_serve
    from networks n
      join blocks b on b.network_id = n.id
      join block_usage u on u.block_id = b.id,
      lateral (select (
        select p.rules ->> 'subnet_selection' from policies p
        where p.id = n.policy_id) as selection) r,
      lateral (select coalesce(wanted_purpose, '') <> '' and exists (
        select from kept_ranges k
        where k.block_id = b.id and k.purpose = wanted_purpose) as serves) k
    where n.id = network and family(b.cidr) = version and u.in_children = 0
      and b.tags @> coalesce(wanted_tags, '{}')
    order by is_full, priority, share, cidr limit 256
  ) subnets
  where serves or not some_serve
$$;
