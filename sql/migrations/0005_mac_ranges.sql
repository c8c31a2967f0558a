-- MAC addresses: ranges that give them out, who holds them, and who held them. A MAC address is a
-- number of 48 bits.

-- The numbers of prefixes such as 52:54:00:00:00:00/24.
create function mac_prefixes(prefixes text[]) returns int8multirange
language plpgsql immutable strict parallel safe as $$
declare
  prefix text;
  start bigint;
  found int8multirange := '{}';
begin
  foreach prefix in array prefixes loop
    start := ('x' || replace(split_part(prefix, '/', 1), ':', ''))::bit(48)::bigint;
    found := found + int8multirange(
      int8range(start, start + (1::bigint << (48 - split_part(prefix, '/', 2)::int))));
  end loop;
  return found;
end $$;

create table mac_ranges (
  id uuid primary key,
  project_id text,
  name text not null default '',
  description text not null default '',
  tags text[] not null default '{}',
  first bigint not null,
  prefix_length smallint not null check (prefix_length between 8 and 48),
  last bigint not null
    generated always as (first + (1::bigint << (48 - prefix_length)) - 1) stored,
  forbidden text[] not null default '{}',
  forbidden_macs int8multirange not null generated always as (mac_prefixes(forbidden)) stored,
  strategy text not null default 'sequential'
    check (strategy in ('sequential', 'random', 'least_recently_used')),
  reuse_after_seconds bigint not null default 0 check (reuse_after_seconds >= 0),
  uniqueness text not null default 'range' check (uniqueness in ('range', 'network')),
  generation int not null default 1,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  check (first >= 0 and first + (1::bigint << (48 - prefix_length)) <= 1::bigint << 48),
  constraint mac_range_overlaps exclude using gist (int8range(first, last, '[]') with &&)
);
create unique index mac_ranges_by_first on mac_ranges (first);
create index mac_ranges_by_project on mac_ranges (project_id, id);

-- The space within which a range gives out each MAC once: all of it, by the id of the range, or a
-- network. A row counts, and is the lock of whoever changes the space.
create table mac_pools (
  id uuid primary key,
  range_id uuid not null references mac_ranges on delete cascade,
  network_id uuid references networks on delete cascade,
  held bigint not null default 0 check (held >= 0),
  waiting bigint not null default 0 check (waiting >= 0),
  changed_at timestamptz not null default clock_timestamp(),
  unique (range_id, network_id),
  check ((network_id is null) = (id = range_id))
) with (fillfactor = 50);
create index mac_pools_by_network on mac_pools (network_id) where network_id is not null;

-- Free MACs as runs, keyed by their end, as in free_ranges.
create table mac_free_ranges (
  pool_id uuid not null references mac_pools on delete cascade,
  first bigint not null,
  last bigint not null,
  free_since timestamptz, -- Kept only where the least recently used MAC comes next.
  primary key (pool_id, last),
  check (first <= last)
) with (fillfactor = 70);
create index mac_free_ranges_by_age on mac_free_ranges (pool_id, free_since, last)
  where free_since is not null;

create table macs (
  id uuid primary key,
  mac bigint not null check (mac between 0 and 281474976710655),
  range_id uuid, -- Null: the caller's own, of no range.
  pool_id uuid,
  network_id uuid,
  interface_id uuid,
  project_id text not null,
  owner_type text,
  owner_id text,
  started_at timestamptz not null,
  -- No network has a MAC twice, wherever it is from; what no network is named for is one more.
  constraint mac_taken unique nulls not distinct (mac, network_id),
  constraint mac_taken_in_pool unique (pool_id, mac),
  constraint mac_range_in_use foreign key (pool_id) references mac_pools (id),
  constraint network_in_use foreign key (network_id) references networks (id),
  check ((range_id is null) = (pool_id is null))
);
create index macs_by_project on macs (project_id, id);
create index macs_by_range on macs (range_id, id) where range_id is not null;
create index macs_by_network on macs (network_id, id) where network_id is not null;
create index macs_by_owner on macs (owner_id, id) where owner_id is not null;
create unique index macs_by_interface on macs (interface_id) where interface_id is not null;

-- A MAC that was released. Rows arrive by a trigger and are never changed.
create table mac_history (
  id uuid primary key,
  mac bigint not null,
  range_id uuid,
  network_id uuid,
  interface_id uuid,
  project_id text not null,
  owner_type text,
  owner_id text,
  started_at timestamptz not null,
  ended_at timestamptz not null check (ended_at >= started_at),
  reusable_at timestamptz
);
create index mac_history_by_mac on mac_history (mac, ended_at);
create index mac_history_by_project on mac_history (project_id, id);
create index mac_history_by_interface on mac_history (interface_id, id)
  where interface_id is not null;

-- MACs that wait before somebody else may get them.
create table mac_waiting (
  mac_id uuid primary key, -- Who left it.
  pool_id uuid not null references mac_pools on delete cascade,
  mac bigint not null,
  project_id text not null,
  owner_id text,
  reusable_at timestamptz not null,
  constraint mac_waiting_twice unique (pool_id, mac)
);
create index mac_waiting_by_time on mac_waiting (pool_id, reusable_at);
