import { type Sql, sql } from '../db/sql.ts'

// Interfaces, and what they may use beside their own addresses.

const allowedEver = sql`
  select id as allowed_id, interface_id, network_id, address, role, role_since as started_at,
    'infinity'::timestamptz as ended_at
  from allowed_addresses
  union all
  select allowed_address_id, interface_id, network_id, address, role, started_at, ended_at
  from allowed_address_history`

export const interfaceChecks: Readonly<Record<string, Sql>> = {
  'I13 interface and its MAC': sql`
    select m.id::text as subject, mac_text(m.mac) || ' of interface ' || m.interface_id || ', project '
        || m.project_id as detail
    from macs m left join interfaces i on i.id = m.interface_id
    where m.interface_id is not null and (i.id is null
      or i.network_id is distinct from m.network_id or i.project_id <> m.project_id
      or m.owner_id <> i.id::text)`,

  'I13 interface on no network': sql`
    select id::text as subject, 'follows no addresses' as detail
    from interfaces where network_id is null and not follows_addresses`,

  'I13 interfaces known by one name': sql`
    select a.id::text as subject, 'client id ' || a.client_id || ' of interface ' || b.id as detail
    from interfaces a join interfaces b
      on b.network_id = a.network_id and b.client_id = a.client_id and b.id > a.id
    union all
    select a.id::text, 'DUID ' || a.duid || ' of interface ' || b.id
    from interfaces a join interfaces b
      on b.network_id = a.network_id and b.duid = a.duid and b.id > a.id
    where a.iaid = b.iaid or a.iaid is null or b.iaid is null`,

  'I13 interface at two devices at one time': sql`
    select interface_id::text as subject, 'from ' || started_at || ', before until ' || before as detail
    from (
      select *, lag(ended_at) over w as before
      from (
        select interface_id, started_at, ended_at from interface_history
        union all
        select id, attached_at, 'infinity' from interfaces
      ) periods
      window w as (partition by interface_id order by started_at, ended_at)
    ) sorted
    where before > started_at`,

  'I13 address allowed to others than who has it alone': sql`
    select a.id::text as subject, a.address || ' ' || a.role || ', and ' || b.address || ' ' || b.role
        || ' of interface ' || b.interface_id as detail
    from allowed_addresses a join allowed_addresses b
      on b.network_id = a.network_id and b.id <> a.id and b.address && a.address
    where a.role = 'exclusive' or a.role = 'primary' and b.role = 'primary'`,

  'I13 address was allowed to others than who had it alone': sql`
    select a.allowed_id::text as subject, a.address || ' ' || a.role || ' from ' || a.started_at
      || ', and ' || b.address || ' ' || b.role || ' of interface ' || b.interface_id as detail
    from (${allowedEver}) a join (${allowedEver}) b
      on b.network_id = a.network_id and b.address && a.address
        and (b.allowed_id, b.started_at) is distinct from (a.allowed_id, a.started_at)
        and b.started_at < a.ended_at and a.started_at < b.ended_at
    where a.role = 'exclusive' or a.role = 'primary' and b.role = 'primary'
      or a.allowed_id = b.allowed_id`,

  'I13 allowed address and its interface': sql`
    select a.id::text as subject, a.address || ' of interface ' || a.interface_id as detail
    from allowed_addresses a left join interfaces i on i.id = a.interface_id
    where (i.network_id, i.project_id) is distinct from (a.network_id, a.project_id)`,

  // Of what has an event at all; the newest one of what is gone tells so.
  'I9 gone without its event': sql`
    select e.object_id::text as subject, 'newest event ' || e.type || ' at ' || e.seq as detail
    from (
      select distinct on (object_id) object_id, type, seq from events
      where split_part(type, '.', 1)
        in ('interface', 'allowed_address', 'floating_ip', 'mac_range', 'block_route', 'dhcp_option')
      order by object_id, seq desc
    ) e
    where e.type not like '%.deleted' and not exists (
      select from interfaces where id = e.object_id
      union all select from allowed_addresses where id = e.object_id
      union all select from floating_ips where id = e.object_id
      union all select from mac_ranges where id = e.object_id
      union all select from block_routes where id = e.object_id
      union all select from dhcp_options where id = e.object_id)`,
}
