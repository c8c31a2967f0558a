-- Grants: an owner lets other projects take addresses of a block or a network (I15).

create table grants (
  id uuid primary key,
  -- Where addresses may be taken: a block, or a network.
  block_id uuid,
  network_id uuid,
  owner_project_id text, -- Whose the place is, which never changes.
  project_id text, -- Who may; null is every project.
  -- How much each project may hold there at a time, as grant_weight counts it; null is no limit.
  allocations_max bigint check (allocations_max >= 0),
  description text not null default '',
  tags text[] not null default '{}',
  generation int not null default 1,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  -- When it was revoked. The row is kept for as long as the place is there: allocations name it.
  revoked_at timestamptz,
  -- Who deletes a place deletes its grants first, and tells so.
  constraint block_not_found foreign key (block_id) references blocks (id),
  constraint network_not_found foreign key (network_id) references networks (id),
  constraint grants_have_one_place check (num_nonnulls(block_id, network_id) = 1)
);
create unique index grant_exists on grants (block_id, network_id, project_id) nulls not distinct
  where revoked_at is null;
create index grants_by_block on grants (block_id, id) where block_id is not null;
create index grants_by_network on grants (network_id, id) where network_id is not null;
create index grants_by_project on grants (project_id, id) where revoked_at is null;
create index grants_by_owner on grants (owner_project_id, id) where revoked_at is null;

-- How much a project holds of a place under grants, whichever they are or were: an exact count, and
-- the lock that whoever takes more of it holds.
create table grant_usage (
  block_id uuid references blocks on delete cascade,
  network_id uuid references networks on delete cascade,
  project_id text not null,
  held numeric(39, 0) not null default 0,
  unique nulls not distinct (block_id, network_id, project_id),
  constraint grant_usage_of_one_place check (num_nonnulls(block_id, network_id) = 1),
  constraint grant_usage_not_negative check (held >= 0)
) with (fillfactor = 50);
create index grant_usage_by_network on grant_usage (network_id) where network_id is not null;

-- Under which grant an allocation was taken; null if it took none. It refers to a row that is there
-- for as long as the allocation is current: its place is above the block of the allocation.
alter table allocations add grant_id uuid;
alter table allocation_history add grant_id uuid;
