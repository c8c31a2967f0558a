-- The audit trail: who made the changes that the events tell of, and what was refused.

-- Who asked, by which operation and from where: each once, however often it asks.
create table callers (
  -- 20 bits of a hash of the user, and below them a number: so one index of what callers did finds
  -- all that a user did in order.
  id bigint primary key,
  digest bytea not null unique, -- SHA-256 of what follows, but for seen_at.
  authority text not null,
  user_id text not null,
  user_name text,
  user_domain_id text,
  project_id text,
  project_domain_id text,
  domain_id text,
  system_scope text,
  roles text[] not null,
  service_user_id text, -- The service that asked in the name of the user.
  service_project_id text,
  operation text not null,
  address text not null,
  agent text,
  seen_at timestamptz not null default now() -- To the hour.
);
create sequence caller_seq maxvalue 4294967295 cycle;
create index callers_by_user on callers (user_id);
create index callers_by_time on callers (seen_at);

-- In whose name the transaction changes something: a caller, a request, and if there is one the
-- request of which that is a part, with a space between. What the system does has none.
create function done_by(part int) returns text language sql stable as $$
  select nullif(split_part(current_setting('melange.done_by', true), ' ', part), '')
$$;

-- A foreign key would be looked at with each event; callers are kept for longer than events.
-- Of events from before this nobody knows who made them: 0.
alter table events
  add caller_id bigint default 0, add request_id uuid, add global_request_id uuid;
alter table events
  alter caller_id set default done_by(1)::bigint,
  alter request_id set default done_by(2)::uuid,
  alter global_request_id set default done_by(3)::uuid;
create index events_by_object on events (object_id, seq);
create index events_by_project on events (project_id, seq) where project_id is not null;
create index events_by_user on events ((caller_id >> 32), seq) where caller_id > 0;
-- Ids of requests grow with time.
create index events_by_request on events using brin (request_id) with (autosummarize = on);
create index events_by_global_request on events (global_request_id, seq)
  where global_request_id is not null;

-- What was asked for and refused; numbered along with the events.
create table refusals (
  seq bigint primary key default nextval('event_seq'),
  at timestamptz not null,
  count int not null, -- That were alike, in the second after the first of them.
  caller_id bigint, -- Null if it was refused who asks; then there are an address and an agent.
  address text,
  agent text,
  request_id uuid not null,
  global_request_id uuid,
  project_id text, -- In whose name it was asked; null also of what nobody but auditors may know.
  operation text not null,
  rule text,
  status smallint not null,
  object_type text not null,
  object_id text,
  action text not null
);
create index refusals_by_time on refusals (at);
create index refusals_by_object on refusals (object_id, seq) where object_id is not null;
create index refusals_by_project on refusals (project_id, seq) where project_id is not null;
create index refusals_by_user on refusals ((caller_id >> 32), seq) where caller_id > 0;
create index refusals_by_request on refusals (request_id, seq);
create index refusals_by_global_request on refusals (global_request_id, seq)
  where global_request_id is not null;
