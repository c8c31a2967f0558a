-- What the machines of a subnet are told beside their addresses: routes, and DHCP options.

-- Routes of a block. They are changed under the lock of the block's row.
create table block_routes (
  id uuid primary key,
  block_id uuid not null references blocks (id), -- Deleted, and told, before the block.
  destination cidr not null,
  gateway inet not null,
  metric bigint check (metric between 0 and 4294967295),
  description text not null default '',
  generation int not null default 1,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint block_route_exists unique (block_id, destination),
  check (family(destination) = family(gateway)),
  check (masklen(gateway) = case family(gateway) when 4 then 32 else 128 end)
);

-- DHCP options, each on one thing; a kind of thing is a column and an index. They are changed under
-- the lock of that thing's row. `value` is canonical, as src/dhcp/option-types.ts makes it.
create table dhcp_options (
  id uuid primary key,
  scope_id uuid references address_scopes (id),
  network_id uuid references networks (id),
  block_id uuid references blocks (id),
  version smallint not null check (version in (4, 6)),
  code int not null check (code between 1 and case version when 4 then 254 else 65535 end),
  value jsonb not null,
  generation int not null default 1,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint dhcp_options_on_one_thing check (num_nonnulls(scope_id, network_id, block_id) = 1)
);
create unique index dhcp_options_by_scope on dhcp_options (scope_id, version, code)
  where scope_id is not null;
create unique index dhcp_options_by_network on dhcp_options (network_id, version, code)
  where network_id is not null;
create unique index dhcp_options_by_block on dhcp_options (block_id, version, code)
  where block_id is not null;
