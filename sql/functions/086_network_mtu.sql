-- IPv6 needs links that carry packets of 1280 bytes (RFC 8200 §5). Whoever puts a block into a
-- network holds that network, so that one of two who do both at once sees what the other did.
create or replace function refuse_small_mtu() returns trigger language plpgsql as $$
declare
  is_small boolean;
begin
  if tg_table_name = 'networks' then
    is_small := exists (
      select from blocks b where b.network_id = new.id and family(b.cidr) = 6);
  else
    is_small := exists (select from networks n where n.id = new.network_id and n.mtu < 1280);
  end if;
  if is_small then
    raise exception 'IPv6 needs an MTU of 1280 or more' using constraint = 'mtu_too_small';
  end if;
  return new;
end $$;

create or replace trigger refuse_small_mtu before update of mtu on networks
for each row when (new.mtu < 1280) execute function refuse_small_mtu();
create or replace trigger refuse_small_mtu before insert or update of network_id on blocks
for each row when (new.network_id is not null and family(new.cidr) = 6)
execute function refuse_small_mtu();
