-- By what DHCP knows machines beside the MACs of their interfaces: the client identifier of DHCPv4
-- (option 61), and the DUID of DHCPv6, alone or with the IAID of one interface of the machine. On a
-- network no name is that of two interfaces. A DUID without an IAID stands for all of its IAIDs.

alter table interfaces
  add client_id text check (client_id ~ '^([0-9a-f]{2}){2,255}$'),
  add duid text check (duid ~ '^([0-9a-f]{2}){3,130}$'),
  add iaid bigint check (iaid between 0 and 4294967295),
  add check (iaid is null or duid is not null),
  add constraint duid_taken exclude using gist (
    duid with =, network_id with =, int8range(iaid, iaid, '[]') with &&) where (duid is not null);
create unique index client_id_taken on interfaces (client_id, network_id)
  where client_id is not null;

-- What clients have that nobody told of, in the order in which a network lists them.
create index allocations_of_clients on allocations (block_id, owner_id, id)
  where owner_type = 'dhcp_client';
