-- What an address of a block is at the moment, and the rule that decides.
create or replace function explain_address(
  block_to_ask uuid, asked inet,
  out state text, out allocation_id uuid, out purpose text, out detail text)
language plpgsql stable as $$
declare
  block blocks;
  child blocks;
  held allocations;
  wish allocation_request;
  refusal text;
begin
  select * into block from blocks b where b.id = block_to_ask;
  if not asked <<= block.cidr then
    state := 'outside';
    return;
  end if;
  select * into child from blocks b where b.parent_id = block.id and b.cidr >>= asked;
  if child.id is not null then
    state := 'in_child';
    detail := format('Block %s (%s) has it.', child.cidr, child.id);
    return;
  end if;
  select * into held from allocations a
  where a.scope_id = block.scope_id and (a.address = asked or a.is_prefix and a.address >>= asked)
  limit 1;
  if held.id is not null then
    state := case when held.expires_at is null then 'allocated' else 'held' end;
    allocation_id := held.id;
    detail := (
      select format('A machine found it in use: it is told to nobody until %s.',
        iso_time(w.withheld_until))
      from withheld_addresses w
      where w.allocation_id = held.id and w.withheld_until > wall_time());
    return;
  end if;
  select q.allocation_id into allocation_id from quarantine q
  where q.scope_id = block.scope_id and q.address && asked limit 1;
  select w.refusal, w.detail into refusal, detail from why_not_free(block, wish, asked) w;
  if allocation_id is not null then
    state := 'quarantined';
    return;
  end if;
  purpose := (
    select k.purpose from kept_ranges k
    where k.block_id = block.id and k.last >= asked and k.first <= asked);
  if is_usable(block, asked, purpose) then
    state := 'free';
    detail := case when purpose is not null then detail end;
  else
    state := 'excluded';
    purpose := null;
  end if;
end $$;
