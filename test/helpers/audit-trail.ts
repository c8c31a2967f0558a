import { Type } from 'typebox'
import { type Database, rows } from '../../src/db/database.ts'

const Named = Type.Object({
  event: Type.String(),
  user_name: Type.Union([Type.String(), Type.Null()]),
})

/** What nobody does: holds lapse, and thresholds are reached, by themselves. */
const byItself = /^allocation\.expired$|\.threshold_(reached|left)$/

/**
 * Which events name nobody, or a caller or request that there is not; of what ends with a hold that has
 * lapsed, too, nobody is to be named.
 */
export async function callersOf(db: Database): Promise<{ unnamed: string[]; named: string[] }> {
  const found = await rows(db, Named)`
    select concat_ws(' ', e.seq, e.type) as event, case when e.request_id is not null then
      c.user_id end as user_name
    from events e left join callers c on c.id = e.caller_id
    where not exists (
      select from events l, lateral json_to_record(l.data) as d (address text)
      where l.type = 'allocation.expired' and l.at <= e.at and (
        e.data ->> 'allocation_id' = l.object_id::text and e.type = 'floating_ip.deleted'
        or e.type = 'floating_ip.disassociated'
        or e.type = 'nat_mapping.deleted'
          and l.object_id::text in (e.data ->> 'inside_local_id', e.data ->> 'inside_global_id')))
    order by e.seq`
  const isOwn = ({ event }: { event: string }) => !byItself.test(event.split(' ')[1] ?? '')
  const told = found.filter(isOwn)
  return {
    unnamed: told.filter(one => one.user_name === null).map(({ event }) => event),
    named: told.flatMap(({ user_name }) => user_name ?? []),
  }
}
