-- Tokens of our own for projects and for the system. Until now there was one at most, of the admin.

alter table tokens
  drop constraint tokens_pkey,
  add id uuid primary key default gen_random_uuid(),
  add description text not null default '',
  -- How the token begins, to tell it by; not known of a token from before.
  add prefix text,
  add project_id text,
  add system_scope text check (system_scope = 'all'),
  add roles text[] not null default '{}',
  -- What `serve` makes at its first start, and `reset-admin-token` replaces. The row is kept when
  -- the token has long been revoked: later starts see that the first one was.
  add is_built_in boolean not null default false,
  add created_by text,
  add expires_at timestamptz,
  add revoked_at timestamptz,
  -- To the minute; written when there is time for it.
  add last_used_at timestamptz;
alter table tokens alter id drop default;
update tokens set system_scope = 'all', roles = '{admin}', is_built_in = true;
alter table tokens
  add constraint tokens_have_one_scope check (num_nonnulls(project_id, system_scope) = 1),
  add constraint tokens_have_roles check (roles <> '{}');
create unique index tokens_built_in on tokens (is_built_in)
  where is_built_in and revoked_at is null;
create index tokens_by_project on tokens (project_id, id);
create index tokens_by_end on tokens (least(revoked_at, expires_at)) where not is_built_in;

-- Keys are of a user in a scope now; until now all were the admin's.
update idempotency_keys set caller = '["token",null,"admin",null,null,"all"]'
where caller = 'admin';
