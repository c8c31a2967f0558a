import type { Database } from '../../db/database.ts'
import { IpamError } from '../../errors.ts'
import type { NewAllocations } from './allocator-store.ts'
import { prepare } from './prepare-store.ts'
import { readWanted } from './read-request.ts'
import { type BulkRequest, countMax } from './schema.ts'

/** Reads all items before any is done; the first that is wrong is named with its place. */
export function readItems(items: BulkRequest['items']): NewAllocations[] {
  const wanted = items.map((item, index) => {
    try {
      return readWanted(item)
    } catch (error) {
      throw inItem(error, index)
    }
  })
  const count = wanted.reduce((sum, { ids }) => sum + ids.length, 0)
  if (count <= countMax) return wanted
  const detail = `items: ask for ${count} addresses, more than ${countMax}`
  throw new IpamError('invalid_request', detail, { field: 'items' })
}

/** Completes those items that are not refused. */
export async function prepareItems(
  db: Database,
  items: BulkRequest['items'],
  asked: readonly NewAllocations[],
  leaves: readonly (IpamError | Pick<NewAllocations, 'needs_grant'>)[],
): Promise<(NewAllocations | IpamError)[]> {
  const wanted: (NewAllocations | IpamError)[] = []
  for (const [index, item] of items.entries()) {
    try {
      const leave = leaves[index]
      if (leave instanceof IpamError) wanted.push(leave)
      else wanted.push(await prepare(db, { ...(asked[index] as NewAllocations), ...leave }, item))
    } catch (error) {
      throw inItem(error, index)
    }
  }
  return wanted
}

/** What is wrong with an item, said with its place. */
function inItem(error: unknown, index: number): unknown {
  if (!(error instanceof IpamError)) return error
  const { code, message, facts } = error
  const field = facts.field ? `items/${index}/${facts.field}` : `items/${index}`
  return new IpamError(code, `items/${index}: ${message}`, { ...facts, field })
}
