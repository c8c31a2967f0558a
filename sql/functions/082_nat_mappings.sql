-- Both sides of a NAT mapping are current allocations (I14); their addresses are copied.
create or replace function check_nat_mapping() returns trigger language plpgsql as $$
begin
  select a.address, a.project_id into new.inside_local_address, new.project_id
  from allocations a where a.id = new.inside_local_id for key share;
  if found then
    select a.address into new.inside_global_address
    from allocations a where a.id = new.inside_global_id for key share;
  end if;
  if not found then
    raise exception using errcode = 'IP409', constraint = 'allocation_ended',
      message = 'Both sides of a NAT mapping are current allocations.';
  end if;
  return new;
end $$;

create or replace trigger check_nat_mapping
before insert on nat_mappings for each row execute function check_nat_mapping();

create or replace function nat_mapping_document(m nat_mappings) returns json
language sql stable as $$
  select json_build_object('id', m.id, 'project_id', m.project_id,
    'inside_local_id', m.inside_local_id, 'inside_local_address', m.inside_local_address,
    'inside_global_id', m.inside_global_id, 'inside_global_address', m.inside_global_address,
    'started_at', iso_time(m.started_at), 'ended_at', iso_time(m.ended_at))
$$;

-- At the end of the transaction, as with floating IPs.
create or replace function tell_nat_mapping() returns trigger language plpgsql as $$
begin
  perform append_consequence(jsonb_build_object(
    'type', case tg_op when 'INSERT' then 'nat_mapping.created' else 'nat_mapping.deleted' end,
    'object_id', new.id, 'project_id', new.project_id, 'data', nat_mapping_document(new)),
    case tg_op when 'INSERT' then '{}' else array[new.inside_local_id, new.inside_global_id] end);
  return null;
end $$;

do $$ begin
  if not exists (select from pg_trigger
    where tgname = 'tell_nat_mapping' and tgrelid = 'nat_mappings'::regclass) then
    create constraint trigger tell_nat_mapping after insert or update on nat_mappings
    deferrable initially deferred for each row execute function tell_nat_mapping();
  end if;
end $$;

-- Ends mappings that have not ended yet; all rows are locked before one is changed, in one order.
-- Without a time they end with the first of their allocations that has ended.
create or replace function end_nat_mappings(ids uuid[], at timestamptz) returns setof nat_mappings
language plpgsql as $$
begin
  perform from nat_mappings m where m.id = any (ids) and m.ended_at is null
  order by m.id for update;
  return query
    update nat_mappings m
    set ended_at = greatest(m.started_at, coalesce(at, (
      select min(h.ended_at) from allocation_history h
      where h.id in (m.inside_local_id, m.inside_global_id))))
    where m.id = any (ids) and m.ended_at is null
    returning m.*;
end $$;
