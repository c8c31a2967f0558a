import { Type } from 'typebox'
import { type Database, rows } from '../db/database.ts'
import { type Asker, digestOf, userKeyOf } from './asker.ts'

const Known = Type.Object({ id: Type.Integer() })

/** The number by which events name an asker; notes that there was one now. */
export async function saveCaller(db: Database, asker: Asker): Promise<number> {
  const digest = digestOf(asker)
  const [known] = await rows(db, Known)`
    insert into callers (id, digest, authority, user_id, user_name, user_domain_id, project_id,
      project_domain_id, domain_id, system_scope, roles, service_user_id, service_project_id,
      operation, address, agent)
    values ((${userKeyOf(asker.user_id)}::bigint << 32) | nextval('caller_seq'), ${digest},
      ${asker.authority}, ${asker.user_id}, ${asker.user_name}, ${asker.user_domain_id},
      ${asker.project_id}, ${asker.project_domain_id}, ${asker.domain_id}, ${asker.system_scope},
      ${asker.roles}, ${asker.service_user_id}, ${asker.service_project_id}, ${asker.operation},
      ${asker.address}, ${asker.agent})
    on conflict (digest) do update set seen_at = excluded.seen_at
    returning id`
  if (!known) throw new Error('a caller was neither there nor added')
  return known.id
}

/**
 * Removes at most `limit` callers who did nothing for so many days; tells how many. A server that
 * knows one notes that it is there every hour, so that none goes before its events.
 */
export async function removeOldCallers(
  db: Database,
  { days, limit }: { readonly days: number; readonly limit: number },
): Promise<number> {
  const removed = await rows(db, Known)`
    delete from callers c using (
      select id from callers where seen_at < now() - make_interval(days => ${days})
      order by seen_at limit ${limit}) o
    where c.id = o.id and c.seen_at < now() - make_interval(days => ${days})
    returning c.id`
  return removed.length
}
