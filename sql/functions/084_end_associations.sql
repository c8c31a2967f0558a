-- I14: what points at an allocation ends with it. The allocations have ended already (the trigger
-- end_allocations comes before this one), under the locks of their blocks.
create or replace function end_associations() returns trigger language plpgsql as $$
declare
  concerned uuid[];
begin
  if exists (select from floating_ips) then
    -- All rows are locked before one is changed, in one order.
    concerned := array(
      select f.id from floating_ips f
      where f.id in (
        select p.id from ended_allocations e join floating_ips p on p.private_allocation_id = e.id
        union all
        select o.id from ended_allocations e join floating_ips o on o.allocation_id = e.id
        where e.owner_type = 'floating_ip')
      order by f.id for update);
    if cardinality(concerned) > 0 then
      update floating_ips f
      set private_allocation_id = null, generation = f.generation + 1,
        updated_at = clock_timestamp(),
        since = greatest(f.since, (
          select min(h.ended_at) from allocation_history h
          where h.id in (f.allocation_id, f.private_allocation_id)))
      where f.id = any (concerned) and f.private_allocation_id is not null;
      delete from floating_ips f
      where f.id = any (concerned) and f.allocation_id in (select e.id from ended_allocations e);
    end if;
  end if;
  if exists (select from nat_mappings) then
    perform end_nat_mappings(array(
      select m.id from ended_allocations e join nat_mappings m on m.inside_local_id = e.id
      where m.ended_at is null
      union
      select m.id from ended_allocations e join nat_mappings m on m.inside_global_id = e.id
      where m.ended_at is null), null);
  end if;
  return null;
end $$;

create or replace trigger end_associations
after delete on allocations referencing old table as ended_allocations
for each statement execute function end_associations();
