-- How full blocks and networks are, and were. Nobody who allocates or releases writes here: all of
-- it is the sampler's, which looks at block_usage now and then.

-- The newest sample of each series, true until the next, and what the sampler has to remember. A
-- block has one series, a network one for each IP version.
create table utilisation_current (
  subject_id uuid not null, -- A block, or a network, whose id may be a block's id, too.
  is_network boolean not null,
  version smallint not null check (version in (4, 6)),
  at timestamptz not null,
  total numeric(39, 0) not null,
  allocated numeric(39, 0) not null,
  held numeric(39, 0) not null,
  quarantined numeric(39, 0) not null,
  excluded numeric(39, 0) not null,
  free numeric(39, 0) not null,
  reached smallint[] not null, -- The thresholds that it was said to have reached, and not left.
  block_changed_at timestamptz, -- block_usage.changed_at when the block was looked at.
  network_id uuid, -- Of the block, then.
  network_created_at timestamptz, -- A network that is gone may have left its id to another.
  primary key (subject_id, is_network, version)
) with (fillfactor = 70);

-- The samples before the newest. Each was true from `at` until `until`, when the next was taken.
create table utilisation_samples (
  subject_id uuid not null,
  is_network boolean not null,
  version smallint not null,
  at timestamptz not null,
  until timestamptz not null check (until > at),
  total numeric(39, 0) not null,
  allocated numeric(39, 0) not null,
  held numeric(39, 0) not null,
  quarantined numeric(39, 0) not null,
  excluded numeric(39, 0) not null,
  free numeric(39, 0) not null,
  -- So that both ends of a time are looked up in it.
  primary key (subject_id, is_network, at, version, until)
);
create index utilisation_samples_by_end on utilisation_samples (until);

-- What the run under way still has to look at. The deepest blocks come first, so that a block is
-- looked at after its children; networks come last, at level -1.
create table utilisation_due (
  level smallint not null,
  subject_id uuid not null,
  primary key (level, subject_id)
);

create table utilisation_runs (
  is_only boolean primary key default true check (is_only),
  started_at timestamptz not null
);
