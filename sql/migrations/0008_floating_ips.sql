-- Floating IPs: public allocations that can point at one private allocation each.

-- A current one. What it has of its allocations never changes while they last, and is copied by
-- a trigger. There are no foreign keys to `allocations`, which would cost every release a look-up:
-- triggers on both sides keep the references true.
create table floating_ips (
  id uuid primary key,
  project_id text not null,
  name text not null default '',
  description text not null default '',
  tags text[] not null default '{}',
  allocation_id uuid not null unique,
  scope_id uuid not null,
  address inet not null,
  -- I14: an allocation has one floating IP at most.
  private_allocation_id uuid constraint private_allocation_associated unique,
  private_address inet,
  since timestamptz not null, -- Since when it points there, or nowhere.
  generation int not null default 1,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  check ((private_allocation_id is null) = (private_address is null))
);
create index floating_ips_by_project on floating_ips (project_id, id);
create index floating_ips_by_address on floating_ips (address);
create index floating_ips_by_private_address on floating_ips (private_address, id)
  where private_address is not null;

-- Who was behind which floating IP, and from when to when; without an end who is now. I14: neither
-- a floating IP nor a private allocation has two at an instant.
create table floating_ip_associations (
  id uuid primary key,
  floating_ip_id uuid not null,
  project_id text not null,
  allocation_id uuid not null,
  address inet not null,
  private_allocation_id uuid not null,
  private_address inet not null,
  started_at timestamptz not null,
  ended_at timestamptz check (ended_at >= started_at),
  constraint floating_ip_points_twice exclude using gist
    (floating_ip_id with =, tstzrange(started_at, ended_at) with &&),
  constraint private_allocation_has_two exclude using gist
    (private_allocation_id with =, tstzrange(started_at, ended_at) with &&)
);
create index floating_ip_associations_by_time on floating_ip_associations (started_at, id);
create index floating_ip_associations_by_floating_ip
  on floating_ip_associations (floating_ip_id, started_at);
create index floating_ip_associations_by_private_allocation
  on floating_ip_associations (private_allocation_id, started_at);
create index floating_ip_associations_by_address on floating_ip_associations (address, started_at);
create index floating_ip_associations_by_private_address
  on floating_ip_associations (private_address, started_at);
create index floating_ip_associations_by_project
  on floating_ip_associations (project_id, started_at);

alter table project_usage
  add floating_ips bigint not null default 0 check (floating_ips >= 0);
alter table quotas add floating_ips bigint check (floating_ips >= 0);
