-- What the API of the original Melange (v0.1 and v1.0) can say of things, and /v2 cannot.

-- Networks are named by any text there, and are there when a block names one. Null: by the id.
alter table networks add v1_id text constraint network_exists unique;

alter table blocks
  -- The last address of every block is its broadcast address, also of /31, /32 and in IPv6.
  add keeps_last_address boolean not null default false,
  -- Policies on the blocks above do not reach it; those on its network and its scope do.
  add inherits_block_rules boolean not null default true,
  -- Where no policy says anything else.
  add default_quarantine_seconds bigint not null default 0,
  add default_ipv6_generator text check (default_ipv6_generator in ('eui64', 'tenant'));

-- A block as it was described there.
create table v1_blocks (
  block_id uuid primary key references blocks on delete cascade,
  gateway text, -- Any address will do there, or an empty text.
  dns1 text not null, -- Any text.
  dns2 text not null,
  -- Which of `network_id` and `policy_id` are an empty text there, not null.
  empty_members text[] not null default '{}',
  -- Somebody found nothing free. It gives out nothing more until addresses are purged.
  is_full boolean not null default false
);

-- What a policy makes unusable, each with an id. `policies.rules` has what they come to.
create table v1_policy_rules (
  id uuid primary key,
  policy_id uuid not null references policies on delete cascade,
  kind text not null check (kind in ('range', 'octet')),
  "offset" bigint,
  length bigint check (length >= 0),
  octet bigint,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  check (case kind when 'range' then "offset" is not null and length is not null and octet is null
    else "offset" is null and length is null and octet is not null end)
);
create index v1_policy_rules_by_policy on v1_policy_rules (policy_id, kind, id);

-- Interfaces are named by any text there. One that has no name and follows its addresses serves the
-- requests of its tenant that name none.
alter table interfaces
  add v1_id text constraint interface_exists unique,
  add check (v1_id is null or follows_addresses);
create index interfaces_nameless on interfaces (project_id, id)
  where follows_addresses and v1_id is null;

-- A route in any words, and the route of the block that they mean, if they mean one.
create table v1_routes (
  id uuid primary key,
  block_id uuid not null references blocks on delete cascade,
  destination text not null,
  netmask text,
  gateway text not null,
  route_id uuid unique references block_routes on delete cascade,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp()
);
create index v1_routes_by_block on v1_routes (block_id, id);
