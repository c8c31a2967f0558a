import { Type } from 'typebox'
import type { OpenDatabase } from '../src/db/database.ts'
import type { Allocator, NewAllocations } from '../src/resources/allocations/allocator-store.ts'
import type { Allocation } from '../src/resources/allocations/schema.ts'
import { built } from './built.ts'

const notMeasured = () => Promise.reject(new Error('the baselines only allocate'))

/** Answers at once, always the same: what the rest of the server costs. */
export function noopAllocator(): Allocator {
  const allocation: Allocation = {
    id: '01920000-0000-7000-8000-000000000001',
    scope_id: '01920000-0000-7000-8000-000000000002',
    block_id: '01920000-0000-7000-8000-000000000003',
    address: '10.20.30.40',
    project_id: 'measured',
    owner_type: 'instance',
    owner_id: 'vm-00000000',
    name: '',
    tags: [],
    generation: 1,
    started_at: '2026-01-01T00:00:00.000000Z',
    expires_at: null,
    ended_at: null,
    quarantined_until: null,
  }
  return {
    allocate: async () => ({ allocations: [allocation], replayed: false }),
    release: notMeasured,
  }
}

const Range = Type.Object({ first: Type.String(), last: Type.String() })
const Made = Type.Object({ scope_id: Type.String(), address: Type.String(), at: Type.String() })

/**
 * The naive way: a transaction for each request, which locks the first free range. It takes the
 * next single address and nothing else, on the same schema with the same triggers and indexes.
 */
export async function naiveAllocator(db: OpenDatabase): Promise<Allocator> {
  const { rows } = await built.database()
  const { IpamError } = await built.errors()

  const allocateOne = (wanted: NewAllocations): Promise<Allocation[]> =>
    db.transaction(async tx => {
      const { block_id, ids, project_id, owner_type = null, owner_id = null } = wanted
      const name = wanted.name ?? ''
      const tags = [...(wanted.tags ?? [])]
      const [id = ''] = ids
      const lockFirst = rows(tx, Range)
      let range: { first: string; last: string } | undefined
      // Who waited for a range that another took to its end gets no row, and looks again.
      for (let attempt = 0; !range && attempt < 100; attempt++) {
        ;[range] = await lockFirst`
          select first, last from free_ranges
          where block_id = ${block_id} order by last limit 1 for update`
      }
      if (!range) throw new IpamError('block_full')
      if (range.first === range.last) {
        await rows(tx, Type.Unknown())`
          delete from free_ranges where block_id = ${block_id} and last = ${range.last}`
      } else {
        await rows(tx, Type.Unknown())`
          update free_ranges set first = first + 1
          where block_id = ${block_id} and last = ${range.last}`
      }
      const [made] = await rows(tx, Made)`
        insert into allocations (id, scope_id, block_id, address, project_id, owner_type, owner_id,
          name, tags, started_at)
        select ${id}, scope_id, id, ${range.first}, ${project_id}, ${owner_type}, ${owner_id},
          ${name}, ${tags}, clock_timestamp()
        from blocks where id = ${block_id}
        returning scope_id, address, started_at as at`
      if (!made) throw new IpamError('block_not_found')
      const allocation: Allocation = {
        id,
        scope_id: made.scope_id,
        block_id: String(block_id),
        address: made.address,
        project_id,
        owner_type,
        owner_id,
        name,
        tags,
        generation: 1,
        started_at: made.at,
        expires_at: null,
        ended_at: null,
        quarantined_until: null,
      }
      // The lock on the range also keeps the events of the block in order.
      await rows(tx, Type.Unknown())`
        insert into events (seq, type, object_id, project_id, data)
        values (nextval('event_seq'), 'allocation.created', ${id}, ${project_id},
          ${JSON.stringify(allocation)})`
      return [allocation]
    })

  const allocate = async (wanted: NewAllocations) => {
    return { allocations: await allocateOne(wanted), replayed: false }
  }
  return { allocate, release: notMeasured }
}
