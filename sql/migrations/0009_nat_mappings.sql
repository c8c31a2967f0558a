-- Which inside-global addresses stand for which inside-local ones: many to many. One that has ended
-- stays, with its end. As with floating IPs there are no foreign keys to `allocations`.
create table nat_mappings (
  id uuid primary key,
  project_id text not null, -- Of the local allocation.
  inside_local_id uuid not null,
  inside_local_address inet not null,
  inside_global_id uuid not null,
  inside_global_address inet not null,
  started_at timestamptz not null,
  ended_at timestamptz check (ended_at >= started_at),
  check (inside_local_id <> inside_global_id)
);
-- I14: a pair is there once.
create unique index nat_mapping_exists on nat_mappings (inside_local_id, inside_global_id)
  where ended_at is null;
create index nat_mappings_by_global on nat_mappings (inside_global_id) where ended_at is null;
create index nat_mappings_by_local_ever on nat_mappings (inside_local_id, id);
create index nat_mappings_by_global_ever on nat_mappings (inside_global_id, id);
create index nat_mappings_by_local_address on nat_mappings (inside_local_address, id);
create index nat_mappings_by_global_address on nat_mappings (inside_global_address, id);
create index nat_mappings_by_project on nat_mappings (project_id, id);
