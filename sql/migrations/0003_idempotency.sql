-- The first answer to a request, for those who ask again with the same key.
create table idempotency_keys (
  caller text not null,
  key text not null,
  fingerprint bytea not null, -- SHA-256 of what was asked.
  answer json,
  created_at timestamptz not null default clock_timestamp(),
  primary key (caller, key)
);
create index idempotency_keys_by_time on idempotency_keys (created_at);
