import { type Sql, sql } from '../db/sql.ts'
import { countOf } from './prefixes-store.ts'

// I15, without the functions and triggers that keep it.

/** What an allocation counts under a grant. */
const weight = sql`case when family(a.address) = 4 then ${countOf(sql`a.address`)}
  when masklen(a.address) <= 64 then power(2::numeric, 64 - masklen(a.address)) else 1 end`

/** What projects hold of places under grants, counted anew. */
const counts = sql`
  select g.block_id, g.network_id, a.project_id, sum(${weight}) as held
  from allocations a join grants g on g.id = a.grant_id
  group by g.block_id, g.network_id, a.project_id`

const place = (of: Sql) => sql`coalesce('block ' || ${of}.block_id, 'network ' || ${of}.network_id)`

export const grantChecks: Readonly<Record<string, Sql>> = {
  // A row for what a project held, and does not any more, may be there or not.
  'I15 counts under grants': sql`
    select coalesce(u.project_id, c.project_id) || ' in '
        || coalesce(${place(sql`u`)}, ${place(sql`c`)}) as subject,
      format('counts %s, holds %s', u.held, c.held) as detail
    from grant_usage u full join (${counts}) c on c.project_id = u.project_id
      and ${place(sql`c`)} = ${place(sql`u`)}
    where coalesce(u.held, 0) <> coalesce(c.held, 0)`,

  'I15 allocation under no grant of its own': sql`
    select a.id::text as subject,
      format('%s of %s, under grant %s', a.address, a.project_id, a.grant_id) as detail
    from allocations a left join grants g on g.id = a.grant_id
    where a.grant_id is not null
      and (g.id is null or g.project_id is not null and g.project_id <> a.project_id)`,

  'I15 allocation outside the place of its grant': sql`
    select a.id::text as subject, format('%s is not in %s', a.address, ${place(sql`g`)}) as detail
    from allocations a join grants g on g.id = a.grant_id
    where not exists (
      select from blocks b where b.id = g.block_id and b.scope_id = a.scope_id
        and b.cidr >>= a.address
      union all
      select from blocks b where b.id = a.block_id and b.network_id = g.network_id)`,

  'I15 grant of another than the owner': sql`
    select g.id::text as subject,
      format('%s is of %s, not of %s', ${place(sql`g`)}, p.project_id, g.owner_project_id) as detail
    from grants g left join (
      select id, project_id from blocks union all select id, project_id from networks
    ) p on p.id = coalesce(g.block_id, g.network_id)
    where p.id is null or p.project_id is distinct from g.owner_project_id`,
}
