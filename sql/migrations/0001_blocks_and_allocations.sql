-- Address scopes, the tree of blocks, their free space, the allocations and the events.
-- The invariants (I1 …) are numbered in docs/architecture.md. A constraint bears the name of the
-- error code that a client gets when it is violated.

create extension if not exists btree_gist;

-- Length of the largest prefix that lies in first..last (both of one IP version, full length).
create function largest_prefix_length(first inet, last inet) returns smallint
language plpgsql immutable strict parallel safe as $$
declare
  common int := masklen(inet_merge(first, last));
  bits int := masklen(first);
  low_end inet;
  high_start inet;
  low int;
  high int;
begin
  if first = set_masklen(network(set_masklen(first, common))::inet, bits)
    and last = set_masklen(broadcast(set_masklen(last, common)), bits) then
    return common;
  end if;
  -- The range crosses the middle of its common prefix: a run that ends there, and one that starts.
  low_end := set_masklen(broadcast(set_masklen(first, common + 1)), bits);
  low := masklen(inet_merge(first, low_end));
  if first <> set_masklen(network(set_masklen(first, low))::inet, bits) then
    low := low + 1;
  end if;
  high_start := set_masklen(network(set_masklen(last, common + 1))::inet, bits);
  high := masklen(inet_merge(high_start, last));
  if last <> set_masklen(broadcast(set_masklen(last, high)), bits) then
    high := high + 1;
  end if;
  return least(low, high);
end $$;

-- How many addresses a prefix has, exactly: 2 to the power of its host bits.
create function address_count(prefix inet) returns numeric
language sql immutable strict parallel safe as $$
  select power(2::numeric, case family(prefix) when 4 then 32 else 128 end - masklen(prefix))
    ::numeric(39, 0)
$$;

create table address_scopes (
  id uuid primary key,
  project_id text,
  name text not null,
  description text not null default '',
  tags text[] not null default '{}',
  generation int not null default 1,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint address_scope_name_taken unique nulls not distinct (project_id, name)
);
create unique index address_scopes_one_public on address_scopes ((true)) where project_id is null;
insert into address_scopes (id, name, description)
values ('00000000-0000-0000-0000-000000000001', 'public',
        'The one routing domain that everybody shares.');

create table blocks (
  id uuid primary key,
  scope_id uuid not null,
  parent_id uuid,
  parent_cidr cidr, -- A copy that the foreign key keeps true, so that a check can compare.
  container_id uuid not null generated always as (coalesce(parent_id, scope_id)) stored,
  cidr cidr not null,
  network_id text,
  is_network_top boolean not null default false,
  project_id text,
  name text not null default '',
  description text not null default '',
  tags text[] not null default '{}',
  gateway_ip inet,
  dns_nameservers inet[] not null default '{}',
  allocate_network_address boolean not null default false,
  strategy text not null default 'sequential'
    check (strategy in ('sequential', 'random', 'least_recently_used')),
  generation int not null default 1,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint address_scope_not_empty foreign key (scope_id) references address_scopes (id),
  unique (id, cidr, scope_id),
  constraint block_has_children foreign key (parent_id, parent_cidr, scope_id)
    references blocks (id, cidr, scope_id) on update cascade deferrable initially immediate,
  constraint block_outside_parent
    check ((parent_id is null) = (parent_cidr is null) and cidr <<= parent_cidr),
  -- I2: neither siblings nor the top blocks of a scope or of a network overlap.
  constraint block_overlaps
    exclude using gist (container_id with =, cidr inet_ops with &&),
  constraint block_overlaps_in_network
    exclude using gist (network_id with =, cidr inet_ops with &&) where (is_network_top)
);
create index blocks_by_cidr on blocks using gist (cidr inet_ops, scope_id);
create index blocks_by_parent on blocks (parent_id);
create index blocks_by_project on blocks (project_id, id);
create index blocks_by_network on blocks (network_id, id);
create index blocks_by_tags on blocks using gin (tags);

-- One row a block: exact counts, and the lock that whoever changes the block's space holds.
create table block_usage (
  block_id uuid primary key references blocks on delete cascade,
  total numeric(39, 0) not null,
  allocated numeric(39, 0) not null default 0 check (allocated >= 0),
  held numeric(39, 0) not null default 0 check (held >= 0),
  quarantined numeric(39, 0) not null default 0 check (quarantined >= 0),
  excluded numeric(39, 0) not null default 0 check (excluded >= 0),
  in_children numeric(39, 0) not null default 0 check (in_children >= 0),
  free numeric(39, 0) not null generated always as
    (total - allocated - held - quarantined - excluded - in_children) stored check (free >= 0),
  changed_at timestamptz not null default clock_timestamp(),
  -- I3: a block holds children or allocations, never both.
  constraint block_has_allocations
    check (in_children = 0 or allocated + held + quarantined + excluded = 0)
) with (fillfactor = 50);

-- The free space of a block as runs of addresses. It is keyed by the end of the run, so that
-- taking addresses from the front changes no index.
create table free_ranges (
  block_id uuid not null references blocks on delete cascade,
  first inet not null,
  last inet not null,
  largest_prefix smallint not null
    generated always as (largest_prefix_length(first, last)) stored,
  free_since timestamptz, -- Kept only in blocks that give out the least recently used address.
  primary key (block_id, last),
  check (first <= last)
) with (fillfactor = 70);
create index free_ranges_by_size on free_ranges (block_id, largest_prefix, last);
create index free_ranges_by_age on free_ranges (block_id, free_since, last)
  where free_since is not null;

create table allocations (
  id uuid primary key,
  scope_id uuid not null,
  block_id uuid not null,
  address inet not null,
  project_id text not null,
  owner_type text,
  owner_id text,
  name text not null default '',
  tags text[] not null default '{}',
  generation int not null default 1,
  started_at timestamptz not null,
  is_prefix boolean not null
    generated always as (masklen(address) < case family(address) when 4 then 32 else 128 end)
    stored,
  -- I1: in one scope no address has two current allocations, and no two prefixes overlap.
  constraint address_taken unique (scope_id, address),
  constraint prefix_taken
    exclude using gist (scope_id with =, address inet_ops with &&) where (is_prefix)
);
create index allocations_by_project on allocations (project_id, id);
create index allocations_by_owner on allocations (owner_id, id) where owner_id is not null;
create index allocations_by_tags on allocations using gin (tags) where tags <> '{}';

-- I4: an allocation that ended. Rows arrive by the trigger below and are never changed.
create table allocation_history (
  id uuid primary key,
  scope_id uuid not null,
  block_id uuid not null,
  address inet not null,
  project_id text not null,
  owner_type text,
  owner_id text,
  name text not null,
  tags text[] not null,
  generation int not null,
  started_at timestamptz not null,
  is_prefix boolean not null,
  ended_at timestamptz not null check (ended_at >= started_at)
);
create index allocation_history_by_address on allocation_history (scope_id, address, ended_at);
create index allocation_history_by_prefix on allocation_history
  using gist (scope_id, address inet_ops) where (is_prefix);
create index allocation_history_by_project on allocation_history (project_id, ended_at);
create index allocation_history_by_owner on allocation_history (owner_id, id)
  where owner_id is not null;
create index allocation_history_by_block on allocation_history (block_id, id);

create table events (
  seq bigint primary key,
  at timestamptz not null default clock_timestamp(),
  type text not null,
  object_id uuid not null,
  project_id text,
  data json not null
);
create index events_by_time on events using brin (at);
create sequence event_seq;
-- Up to where events have been removed; a reader that stands before it has missed some.
create table event_horizon (removed_through bigint not null);
insert into event_horizon values (0);

create table tokens (
  name text primary key,
  hash bytea not null unique, -- SHA-256 of a random 256-bit token.
  created_at timestamptz not null default clock_timestamp()
);
