import { Type } from 'typebox'
import { type Database, rows } from '../../db/database.ts'
import type { HostColumns } from './rows.ts'

// Kea's own tables, of which Melange has the hosts that bear its mark.

/** How the user context of a host begins that is Melange's; the digest and `"}` end it. */
const mark = '{"melange":"'

const Version = Type.Object({ version: Type.Integer(), minor: Type.Integer() })

/** The version of Kea's schema; null if there is none. */
export async function readSchemaVersion(db: Database): Promise<string | null> {
  const [table] = await rows(db, Type.Object({ is_there: Type.Boolean() }))`
    select to_regclass('schema_version') is not null and to_regclass('hosts') is not null
      as is_there`
  if (!table?.is_there) return null
  const [found] = await rows(db, Version)`select version, minor from schema_version`
  return found ? `${found.version}.${found.minor}` : null
}

const Present = Type.Object({ host_id: Type.Integer(), digest: Type.String() })

/** The hosts that are there, by their digests. */
export async function listHosts(db: Database): Promise<Map<string, number>> {
  const found = await rows(db, Present)`
    select host_id, substr(user_context, ${mark.length + 1}, 27) as digest
    from hosts where starts_with(user_context, ${mark})`
  return new Map(found.map(({ host_id, digest }) => [digest, host_id]))
}

/** How many hosts one statement takes. */
const batchSize = 2000

export type HostChange = {
  /** Ids of hosts that go. */
  readonly gone: readonly number[]
  readonly added: readonly { readonly digest: string; readonly columns: HostColumns }[]
}

/** Removes hosts and adds others at once. Returns the ids of those that were added by digest. */
export function changeHosts(
  db: Database,
  { gone, added }: HostChange,
): Promise<[string, number][]> {
  return db.transaction(async tx => {
    if (gone.length > 0) {
      await rows(tx, Type.Unknown())`delete from hosts where host_id = any(${gone}::integer[])`
    }
    const ids: [string, number][] = []
    for (let start = 0; start < added.length; start += batchSize) {
      ids.push(...(await addHosts(tx, added.slice(start, start + batchSize))))
    }
    return ids
  })
}

async function addHosts(tx: Database, added: HostChange['added']): Promise<[string, number][]> {
  const source = JSON.stringify(
    added.map(({ digest, columns }) => ({ ...columns, context: `${mark}${digest}"}` })),
  )
  const found = await rows(tx, Present)`
    with source as materialized (
      select * from jsonb_to_recordset(${source}::text::jsonb) as source (
        context text, version integer, identifier text, identifier_type smallint,
        subnet_id bigint, ipv4 bigint, class_name text, next_server bigint,
        server_hostname text, boot_file_name text, options jsonb, reservations jsonb)
    ), added as (
      insert into hosts (
        dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, dhcp6_subnet_id, ipv4_address,
        dhcp4_client_classes, dhcp6_client_classes, dhcp4_next_server,
        dhcp4_server_hostname, dhcp4_boot_file_name, user_context)
      select decode(identifier, 'hex'), identifier_type,
        case version when 4 then subnet_id end, case version when 6 then subnet_id end, ipv4,
        case version when 4 then class_name end, case version when 6 then class_name end,
        next_server, server_hostname, boot_file_name, context
      from source
      returning host_id, user_context
    ), options4 as (
      insert into dhcp4_options (code, value, space, host_id, scope_id)
      select code, decode(hex, 'hex'), 'dhcp4', host_id, 3
      from added join source on context = user_context
        cross join lateral jsonb_to_recordset(options) as option (code integer, hex text)
      where version = 4
    ), options6 as (
      insert into dhcp6_options (code, value, space, host_id, scope_id)
      select code, decode(hex, 'hex'), 'dhcp6', host_id, 3
      from added join source on context = user_context
        cross join lateral jsonb_to_recordset(options) as option (code integer, hex text)
      where version = 6
    ), reserved as (
      insert into ipv6_reservations (address, prefix_len, type, host_id)
      select address, prefix_length, type, host_id
      from added join source on context = user_context
        cross join lateral jsonb_to_recordset(reservations)
          as reservation (address text, prefix_length smallint, type smallint)
    )
    select host_id, substr(user_context, ${mark.length + 1}, 27) as digest from added`
  return found.map(({ host_id, digest }) => [digest, host_id])
}
