-- Leases: what servers told machines, and what machines said of it.

-- A row is written once, and changed with each renewal. So that this changes no index and finds
-- room in the same page, no column that a renewal changes is in an index, and half of a page is
-- left free. There is no foreign key to allocations: a release would have to look, and what
-- was told outlives them.
create table leases (
  id uuid primary key, -- Made by the server.
  server text not null,
  project_id text not null,
  network_id uuid not null,
  allocation_id uuid not null,
  scope_id uuid not null,
  address inet not null,
  mac macaddr,
  client_id bytea,
  duid bytea,
  iaid bigint,
  host_name text,
  relay_address inet,
  relay_circuit_id bytea,
  relay_remote_id bytea,
  state text not null check (state in ('bound', 'released', 'declined')),
  -- By the clock of the server; the last by that of the database.
  started_at timestamptz not null,
  told_at timestamptz not null,
  ends_at timestamptz,
  reported_at timestamptz not null,
  -- The day on which it ends: it changes once a day at most.
  ends_on date generated always as (
    (case state when 'bound' then ends_at else told_at end at time zone 'UTC')::date) stored
) with (fillfactor = 50);
create index leases_by_start on leases (started_at);
create index leases_by_project on leases (project_id, started_at);
create index leases_by_network on leases (network_id, started_at);
create index leases_by_allocation on leases (allocation_id, started_at);
create index leases_by_address on leases (scope_id, address, started_at);
create index leases_by_server on leases (server, started_at);
create index leases_by_mac on leases (mac, started_at) where mac is not null;
create index leases_by_client_id on leases (client_id, started_at) where client_id is not null;
create index leases_by_duid on leases (duid, started_at) where duid is not null;
create index leases_by_end on leases (ends_on);

-- Addresses that are told to nobody for a while, since a machine found them in use. A row counts
-- while its allocation lasts and its time is not over; others are cleared away now and then.
create table withheld_addresses (
  allocation_id uuid primary key,
  lease_id uuid not null,
  server text not null,
  project_id text not null,
  network_id uuid not null,
  scope_id uuid not null,
  address inet not null,
  withheld_at timestamptz not null,
  withheld_until timestamptz not null
);
create index withheld_addresses_by_time on withheld_addresses (withheld_until, allocation_id);
create index withheld_addresses_by_project
  on withheld_addresses (project_id, withheld_until, allocation_id);
