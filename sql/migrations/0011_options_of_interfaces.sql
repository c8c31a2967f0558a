-- What the machine of one interface is told, and the largest packet of a network.

alter table dhcp_options
  add interface_id uuid references interfaces (id),
  drop constraint dhcp_options_on_one_thing,
  add constraint dhcp_options_on_one_thing
    check (num_nonnulls(scope_id, network_id, block_id, interface_id) = 1);
create unique index dhcp_options_by_interface on dhcp_options (interface_id, version, code)
  where interface_id is not null;

-- In bytes (RFC 791 §3.2); null where nobody has said.
alter table networks add mtu int check (mtu between 68 and 65535);
