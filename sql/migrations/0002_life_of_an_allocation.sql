-- Networks, policies, holds, quarantine and quotas: all that may happen to an address between its
-- being free and its being free again.

-- Named rules. What a rule means for a block is worked out when rules change, and kept with it.
create table policies (
  id uuid primary key,
  project_id text,
  name text not null,
  description text not null default '',
  tags text[] not null default '{}',
  rules jsonb not null default '{}',
  generation int not null default 1,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint policy_name_taken unique nulls not distinct (project_id, name)
);

create table networks (
  id uuid primary key,
  project_id text,
  name text not null default '',
  description text not null default '',
  tags text[] not null default '{}',
  policy_id uuid,
  generation int not null default 1,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint policy_in_use foreign key (policy_id) references policies (id)
);
create index networks_by_project on networks (project_id, id);
create index networks_by_name on networks (name, id);
create index networks_by_policy on networks (policy_id) where policy_id is not null;

alter table address_scopes add policy_id uuid,
  add constraint policy_in_use foreign key (policy_id) references policies (id);
create index address_scopes_by_policy on address_scopes (policy_id) where policy_id is not null;

-- A network was no more than a text on its blocks.
alter table blocks drop constraint block_overlaps_in_network;
drop index blocks_by_network;
alter table blocks rename network_id to network_name;
alter table blocks add network_id uuid;
insert into networks (id, project_id, name, created_at, updated_at)
select gen_random_uuid(), min(project_id), network_name, min(created_at), min(created_at)
from blocks where network_name is not null group by network_name;
update blocks b set network_id = n.id from networks n where n.name = b.network_name;
alter table blocks drop column network_name;
insert into events (seq, type, object_id, project_id, data)
select nextval('event_seq'), 'network.created', n.id, n.project_id, to_json(n) from networks n;

alter table blocks
  add constraint network_has_subnets foreign key (network_id) references networks (id),
  add constraint block_overlaps_in_network
    exclude using gist (network_id with =, cidr inet_ops with &&) where (is_network_top),
  add priority int not null default 0, -- Among the subnets of a network the lowest comes first.
  add policy_id uuid,
  add constraint policy_in_use foreign key (policy_id) references policies (id),
  add own_strategy text check (own_strategy in ('sequential', 'random', 'least_recently_used')),
  -- What the rules that reach the block come to; `strategy` is one of them.
  add quarantine_seconds bigint not null default 0,
  add quarantine_reuse boolean not null default false,
  -- Null where rules keep nothing back beside the network's own addresses and the gateway.
  add excluded_octets smallint[],
  add excluded_octets_reason text, -- With {octet} for the one meant.
  add ipv6_generator text
    check (ipv6_generator in ('eui64', 'stable_private', 'tenant')),
  add utilisation_thresholds smallint[] not null default '{}';
update blocks set own_strategy = nullif(strategy, 'sequential');
create index blocks_by_network on blocks (network_id, id) where network_id is not null;
create index blocks_by_policy on blocks (policy_id) where policy_id is not null;

-- What a leaf gives to nobody, or (with a purpose) only for that purpose, and why.
create table kept_ranges (
  block_id uuid not null references blocks on delete cascade,
  first inet not null,
  last inet not null,
  purpose text,
  reason text not null,
  primary key (block_id, last),
  check (first <= last)
);
insert into kept_ranges (block_id, first, last, reason)
select distinct on (b.id, k.address) b.id, k.address, k.address, k.reason
from blocks b, lateral (
  select set_masklen(network(b.cidr)::inet, case family(b.cidr) when 4 then 32 else 128 end),
    'network address', 1
  where not b.allocate_network_address
    and case family(b.cidr) when 4 then masklen(b.cidr) <= 30
      else masklen(b.cidr) between 64 and 126 end
  union all
  select set_masklen(broadcast(b.cidr), 32), 'broadcast address', 2
  where family(b.cidr) = 4 and masklen(b.cidr) <= 30
  union all
  select b.gateway_ip, 'gateway', 3 where b.gateway_ip <<= b.cidr::inet
) k (address, reason, position)
where not exists (select from blocks c where c.parent_id = b.id)
order by b.id, k.address, k.position;

-- The last octet of an address, in both IP versions.
create function last_octet(address inet) returns smallint
language sql immutable strict parallel safe as $$
  select get_byte(inet_send(address), case family(address) when 4 then 7 else 19 end)::smallint
$$;

-- Whether first..last has an address whose last octet is not among the excluded ones, which are
-- never all of them.
create function has_other_octets(first inet, last inet, excluded smallint[]) returns boolean
language plpgsql immutable strict parallel safe as $$
declare
  bits int := masklen(first) - 8; -- Of the runs of 256 addresses.
  low int := last_octet(first);
  high int := last_octet(last);
  first_run_end inet := set_masklen(broadcast(set_masklen(first, bits)), masklen(first));
begin
  if last > first_run_end then
    if set_masklen(network(set_masklen(last, bits))::inet, masklen(last)) - 1 > first_run_end
      or high >= low then
      return true;
    end if;
    return exists (
      select from generate_series(low, 255) o where o <> all (excluded)
      union all
      select from generate_series(0, high) o where o <> all (excluded));
  end if;
  return exists (select from generate_series(low, high) o where o <> all (excluded));
end $$;

-- Free space has a purpose, and addresses that are skipped for their last octet stay in it.
alter table free_ranges
  add purpose text not null default '',
  add excluded_octets smallint[], -- A copy of the block's.
  -- For what single addresses can be taken from the run: null if all of them are excluded. Kept
  -- only in blocks whose rules keep something back.
  add pool text generated always as (case
    when excluded_octets is not null and has_other_octets(first, last, excluded_octets)
    then purpose end) stored;
create index free_ranges_by_pool on free_ranges (block_id, pool, last) where pool is not null;
create index free_ranges_by_pool_age on free_ranges (block_id, pool, free_since, last)
  where pool is not null and free_since is not null;

-- A hold is an allocation that expires.
alter table allocations add expires_at timestamptz;
create index allocations_by_expiry on allocations (expires_at) where expires_at is not null;
create index allocations_by_block_expiry on allocations (block_id, expires_at)
  where expires_at is not null;
alter table allocation_history
  add expires_at timestamptz, -- Not after `ended_at` if it lapsed.
  add quarantined_until timestamptz;

-- Addresses that wait for the one who had them last.
create table quarantine (
  allocation_id uuid primary key, -- The allocation that ended.
  scope_id uuid not null,
  block_id uuid not null,
  address inet not null,
  ended_at timestamptz not null,
  quarantined_until timestamptz not null,
  constraint address_quarantined
    exclude using gist (scope_id with =, address inet_ops with &&)
);
create index quarantine_by_block on quarantine (block_id, quarantined_until);
create index quarantine_by_time on quarantine (quarantined_until);
create index quarantine_by_end on quarantine (block_id, ended_at, allocation_id);

-- The latest time of a block that is gone: what follows it in its place must not begin before.
alter table address_scopes add latest_at timestamptz;

-- One check in place of six: each is read anew by every statement that changes the counts.
alter table block_usage
  drop constraint block_usage_allocated_check,
  drop constraint block_usage_held_check,
  drop constraint block_usage_quarantined_check,
  drop constraint block_usage_excluded_check,
  drop constraint block_usage_in_children_check,
  drop constraint block_usage_free_check,
  add constraint block_usage_not_negative
    check (least(allocated, held, quarantined, excluded, in_children, free) >= 0);

-- What a project uses, in each address scope and (without a scope) in all: exact counts, and the
-- lock that whoever is limited by a quota holds.
create table project_usage (
  project_id text not null,
  scope_id uuid references address_scopes on delete cascade,
  allocations bigint not null default 0,
  ipv6_64s numeric(39, 0) not null default 0,
  blocks bigint not null default 0,
  unique nulls not distinct (project_id, scope_id),
  constraint project_usage_not_negative check (least(allocations, ipv6_64s, blocks) >= 0)
) with (fillfactor = 50);
insert into project_usage (project_id, scope_id, allocations, ipv6_64s, blocks)
select project_id, scope_id, sum(allocations), sum(ipv6_64s), sum(blocks)
from (
  select project_id, scope_id, 1 as allocations, 0 as blocks,
    case when family(address) = 6 and masklen(address) <= 64
      then power(2::numeric, 64 - masklen(address)) else 0 end as ipv6_64s
  from allocations
  union all
  select project_id, scope_id, 0, 1, 0 from blocks where project_id is not null
) used
group by grouping sets ((project_id, scope_id), (project_id));

-- Limits; null is none. Without a scope: in all scopes together. Without a project: of every
-- project that has none of its own.
create table quotas (
  id uuid primary key,
  project_id text,
  scope_id uuid,
  allocations bigint check (allocations >= 0),
  ipv6_64s numeric(20, 0) check (ipv6_64s >= 0),
  blocks bigint check (blocks >= 0),
  generation int not null default 1,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  unique nulls not distinct (project_id, scope_id),
  -- Who deletes a scope deletes its limits first, and tells so.
  constraint address_scope_not_empty foreign key (scope_id) references address_scopes (id)
);
create index quotas_by_scope on quotas (scope_id) where scope_id is not null;

-- So that an owner can be told what became of its allocations since a cursor.
alter table events add owner_id text;
update events set owner_id = data ->> 'owner_id' where type like 'allocation.%';
create index events_by_owner on events (owner_id, seq) where owner_id is not null;

-- Functions that take something else now.
drop function if exists give_range(uuid, inet, inet, timestamptz);
drop function if exists find_prefix(uuid, int);
drop function if exists joined_ranges(uuid);
drop function if exists random_free_address(blocks);
drop function if exists take_addresses(blocks, bigint);
drop function if exists take_wish(blocks, allocation_request);
drop function if exists why_not_free(blocks, inet);
drop function if exists allocate_addresses(jsonb);
drop type if exists allocation_request;
