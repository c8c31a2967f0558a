-- I16: what servers report of leases. Rows of leases are locked in the order of their ids, before
-- all else but the idempotency key; then what any end of an allocation locks.

-- Keeps what a server reports: a JSON array of reports, each with its number in it. Of a lease the
-- report counts that says its end, else the one told last, in whatever order they come. Answers
-- the reports that can never be kept, and why; then what they say is not done, either.
create or replace function report_leases(reporter text, batch json, wait_seconds bigint)
returns table (request int, refusal text)
language plpgsql
set enable_seqscan = off -- As in allocate_addresses.
as $$
#variable_conflict use_column
declare
  refused int[];
  refusals text[];
  accepted bigint;
  written bigint;
  ended uuid[];
begin
  with reports as (
    select * from json_to_recordset(batch) r (request int, id uuid, allocation_id uuid,
      network_id uuid, address inet, mac_address macaddr, client_id bytea, duid bytea, iaid bigint,
      host_name text, relay_address inet, relay_circuit_id bytea, relay_remote_id bytea,
      state text, started_at timestamptz, told_at timestamptz, ends_at timestamptz)
  ), judged as materialized (
    select r.*, a.project_id, a.scope_id, case
        when a.id is null then 'allocation_unknown'
        when a.address <> r.address then 'address_differs'
        when (r.network_id in (b.network_id, i.network_id)
          or a.has_ended and num_nonnulls(b.network_id, i.network_id) = 0) is not true
          then 'network_differs'
      end as refusal
    from reports r
      left join lateral (
        select c.id, c.project_id, c.scope_id, c.block_id, c.address, c.is_prefix, c.owner_type,
          c.owner_id, false as has_ended
        from allocations c where c.id = r.allocation_id
        union all
        select h.id, h.project_id, h.scope_id, h.block_id, h.address, h.is_prefix, h.owner_type,
          h.owner_id, true
        from allocation_history h where h.id = r.allocation_id
      ) a on true
      left join blocks b on b.id = a.block_id
      -- A prefix that is delegated to an interface is of no block on its network.
      left join interfaces i on i.id = case
        when a.is_prefix and a.owner_type = 'interface'
          and a.owner_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        then a.owner_id::uuid end
  ), chosen as (
    select distinct on (j.id) j.* from judged j where j.refusal is null
    order by j.id, j.state = 'bound', j.told_at desc, j.ends_at desc
  ), kept as (
    insert into leases as l (id, server, project_id, network_id, allocation_id, scope_id, address,
      mac, client_id, duid, iaid, host_name, relay_address, relay_circuit_id, relay_remote_id,
      state, started_at, told_at, ends_at, reported_at)
    select c.id, reporter, c.project_id, c.network_id, c.allocation_id, c.scope_id, c.address,
      c.mac_address, c.client_id, c.duid, c.iaid, c.host_name, c.relay_address,
      c.relay_circuit_id, c.relay_remote_id, c.state, c.started_at, c.told_at, c.ends_at,
      wall_time()
    from chosen c order by c.id
    on conflict (id) do update
    set server = excluded.server, mac = excluded.mac, client_id = excluded.client_id,
      duid = excluded.duid, iaid = excluded.iaid, host_name = excluded.host_name,
      relay_address = excluded.relay_address, relay_circuit_id = excluded.relay_circuit_id,
      relay_remote_id = excluded.relay_remote_id, state = excluded.state,
      told_at = excluded.told_at, ends_at = excluded.ends_at, reported_at = excluded.reported_at
    where l.state = 'bound' and l.allocation_id = excluded.allocation_id
      and (excluded.state <> 'bound' or (excluded.told_at, coalesce(excluded.ends_at, 'infinity'))
        > (l.told_at, coalesce(l.ends_at, 'infinity')))
    returning l.id, l.state
  )
  select array_agg(j.request) filter (where j.refusal is not null),
    array_agg(j.refusal) filter (where j.refusal is not null),
    count(*) filter (where j.refusal is null),
    (select count(*) from kept), (select array_agg(k.id) from kept k where k.state <> 'bound')
  into refused, refusals, accepted, written, ended
  from judged j;

  if ended is not null then
    perform end_leases(ended, wait_seconds);
  end if;
  return query select * from unnest(refused, refusals);
  if written < accepted then
    return query
      select r.request, 'lease_of_another'
      from json_to_recordset(batch) r (request int, id uuid, allocation_id uuid)
        join leases l on l.id = r.id
      where l.allocation_id <> r.allocation_id and r.request <> all (coalesce(refused, '{}'));
  end if;
end $$;

-- Does what follows from the ends that machines told of. What was allocated for a machine because
-- it asked ends with its lease, unless it has got another one since, or is about to. What was declined waits in
-- quarantine for so long at least, or is withheld.
create or replace function end_leases(ended uuid[], wait_seconds bigint) returns void
language plpgsql
set enable_seqscan = off
as $$
declare
  has_declined boolean := exists (
    select from leases l where l.id = any (ended) and l.state = 'declined');
  at timestamptz;
  declined uuid[];
  released uuid[];
  gone uuid[];
begin
  perform lock_blocks(array(
    select a.block_id from leases l join allocations a on a.id = l.allocation_id
    where l.id = any (ended) and (l.state = 'declined' or a.owner_type = 'dhcp_client')));
  at := wall_time();
  declined := array(
    select distinct a.id from leases l join allocations a on a.id = l.allocation_id
    where l.id = any (ended) and l.state = 'declined' and a.owner_type = 'dhcp_client');
  released := array(
    select distinct a.id from leases l join allocations a on a.id = l.allocation_id
    where l.id = any (ended) and l.state = 'released' and a.owner_type = 'dhcp_client'
      and a.id <> all (declined) and not exists (
        select from leases later
        where later.allocation_id = a.id and later.id <> l.id and later.state = 'bound'
          and later.told_at >= l.told_at and coalesce(later.ends_at, 'infinity') > at)
      and not exists (
        select from events e
        where e.object_id = a.id and e.type = 'allocation.renewed' and e.at > l.told_at));
  gone := declined || released;
  if cardinality(gone) = 0 and not has_declined then
    return;
  end if;

  if cardinality(gone) > 0 then
    perform lock_project_usage(array_agg(a.project_id), array_agg(a.scope_id))
    from allocations a where a.id = any (gone);
    perform lock_grants('{}', '{}', '{}', gone)
    from allocations a where a.id = any (gone) having count(a.grant_id) > 0;
    perform set_config('melange.quarantine_seconds', wait_seconds::text, true);
    delete from allocations a where a.id = any (declined);
    perform set_config('melange.quarantine_seconds', '', true);
    delete from allocations a where a.id = any (released);
    perform give_back_ended(released);
  end if;

  insert into withheld_addresses as w (allocation_id, lease_id, server, project_id, network_id,
    scope_id, address, withheld_at, withheld_until)
  select distinct on (a.id) a.id, l.id, l.server, a.project_id, l.network_id, a.scope_id,
    a.address, at, at + make_interval(secs => wait_seconds)
  from leases l join allocations a on a.id = l.allocation_id
  where l.id = any (ended) and l.state = 'declined'
  order by a.id, l.told_at desc
  on conflict (allocation_id) do update
  set lease_id = excluded.lease_id, server = excluded.server, network_id = excluded.network_id,
    withheld_at = excluded.withheld_at,
    withheld_until = greatest(w.withheld_until, excluded.withheld_until);

  perform lock_events();
  perform append_ended(gone, null);
  insert into events (seq, type, object_id, project_id, owner_id, data)
  select nextval('event_seq'), 'lease.declined', l.allocation_id, l.project_id, a.owner_id,
    json_build_object('lease_id', l.id, 'allocation_id', l.allocation_id, 'block_id', a.block_id,
      'network_id', l.network_id, 'address', l.address, 'owner_type', a.owner_type,
      'owner_id', a.owner_id, 'mac_address', l.mac, 'client_id', encode(l.client_id, 'hex'),
      'duid', encode(l.duid, 'hex'), 'iaid', l.iaid, 'host_name', l.host_name,
      'server', l.server, 'told_at', iso_time(l.told_at),
      'withheld_until', iso_time(a.withheld_until))
  from leases l, lateral (
    select c.block_id, c.owner_type, c.owner_id, w.withheld_until
    from allocations c join withheld_addresses w on w.allocation_id = c.id
    where c.id = l.allocation_id
    union all
    select h.block_id, h.owner_type, h.owner_id,
      case when h.id = any (declined) then h.quarantined_until end
    from allocation_history h where h.id = l.allocation_id
  ) a
  where l.id = any (ended) and l.state = 'declined'
  order by l.id;
end $$;

-- Lets servers tell an address again before its time; answers what was withheld, if it was.
create or replace function end_withholding(wanted uuid)
returns table (project_id text, withheld json) language plpgsql as $$
declare
  gone withheld_addresses;
begin
  delete from withheld_addresses w where w.allocation_id = wanted returning w.* into gone;
  return query
    select a.project_id, json_build_object('allocation_id', a.id, 'block_id', a.block_id,
      'network_id', gone.network_id, 'address', a.address, 'owner_type', a.owner_type,
      'owner_id', a.owner_id, 'server', gone.server,
      'withheld_until', iso_time(gone.withheld_until))
    from allocations a where a.id = gone.allocation_id and gone.withheld_until > wall_time();
end $$;
