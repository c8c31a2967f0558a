-- Interfaces: virtual NICs, each on one network, with a MAC and any number of addresses. Its
-- addresses are the allocations of owner type `interface` whose owner id is its own.
-- One that follows its addresses comes to the network of the first, and to another when it has none
-- left there; before that it is on no network.

create table interfaces (
  id uuid primary key,
  device_id text,
  project_id text not null,
  network_id uuid,
  follows_addresses boolean not null default false,
  name text not null default '',
  tags text[] not null default '{}',
  generation int not null default 1,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  attached_at timestamptz not null, -- Since when it is at this device and on this network.
  unique (id, network_id),
  check (network_id is not null or follows_addresses),
  constraint network_in_use foreign key (network_id) references networks (id)
);
create index interfaces_by_device on interfaces (device_id, id) where device_id is not null;
create index interfaces_by_project on interfaces (project_id, id);
create index interfaces_by_network on interfaces (network_id, id);
create index interfaces_by_attachment on interfaces (attached_at, id);
create index interfaces_by_tags on interfaces using gin (tags) where tags <> '{}';

-- Where an interface was, and until when. Rows arrive by a trigger and are never changed.
create table interface_history (
  interface_id uuid not null,
  device_id text,
  project_id text not null,
  network_id uuid,
  name text not null,
  mac bigint,
  started_at timestamptz not null,
  ended_at timestamptz not null check (ended_at >= started_at)
);
create index interface_history_by_interface on interface_history (interface_id, started_at);
create index interface_history_by_device on interface_history (device_id, started_at)
  where device_id is not null;
create index interface_history_by_time on interface_history (started_at, interface_id);

-- The MAC of an interface is on its network, and goes with it. Who brings an interface to another
-- network brings its MAC after it, before the second constraint is looked at.
alter table macs
  add foreign key (interface_id) references interfaces on delete cascade,
  add constraint macs_of_interface foreign key (interface_id, network_id)
    references interfaces (id, network_id) on delete cascade deferrable;

-- What an interface may use beside its own addresses.
create table allowed_addresses (
  id uuid primary key,
  number bigint not null generated always as identity,
  interface_id uuid not null,
  network_id uuid not null,
  address inet not null,
  role text not null check (role in ('exclusive', 'primary', 'secondary', 'shared')),
  role_since timestamptz not null,
  project_id text not null, -- Of the interface, which keeps it.
  generation int not null default 1,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  -- Each of those who share an address has a place of its own; who has it alone takes all places.
  places int8range not null generated always as (
    case role when 'exclusive' then int8range(null, null)
      else int8range(number, number, '[]') end) stored,
  constraint allowed_address_exists unique (interface_id, address),
  constraint allowed_address_taken
    exclude using gist (network_id with =, address inet_ops with &&, places with &&),
  constraint primary_taken
    exclude using gist (network_id with =, address inet_ops with &&) where (role = 'primary'),
  foreign key (interface_id, network_id) references interfaces (id, network_id) on delete cascade
);
create index allowed_addresses_by_interface on allowed_addresses (interface_id, id);
create index allowed_addresses_by_time on allowed_addresses (role_since, id);

create table allowed_address_history (
  allowed_address_id uuid not null,
  interface_id uuid not null,
  network_id uuid not null,
  project_id text not null,
  address inet not null,
  role text not null,
  started_at timestamptz not null,
  ended_at timestamptz not null check (ended_at > started_at)
);
create index allowed_address_history_by_address
  on allowed_address_history using gist (network_id, address inet_ops);
create index allowed_address_history_by_interface
  on allowed_address_history (interface_id, started_at);
create index allowed_address_history_by_time
  on allowed_address_history (started_at, allowed_address_id);

-- Interfaces are of no address scope: they are counted, and limited, in all together.
alter table project_usage
  add interfaces bigint not null default 0,
  drop constraint project_usage_not_negative,
  add constraint project_usage_not_negative
    check (least(allocations, ipv6_64s, blocks, interfaces) >= 0);
alter table quotas add interfaces bigint check (interfaces >= 0);
