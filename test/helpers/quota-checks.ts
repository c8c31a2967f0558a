import type { Query } from './direct-sql.ts'

// What quotas promise, looked at by other means than the product's: the events are replayed one by
// one, and what there is is counted here.

const kinds = ['allocations', 'ipv6_64s', 'blocks'] as const
type Counts = Record<(typeof kinds)[number], bigint>
type Limits = Record<(typeof kinds)[number], number | string | null>

const nothing: Counts = { allocations: 0n, ipv6_64s: 0n, blocks: 0n }
const add = (a: Counts, b: Counts, sign: bigint): Counts => ({
  allocations: a.allocations + sign * b.allocations,
  ipv6_64s: a.ipv6_64s + sign * b.ipv6_64s,
  blocks: a.blocks + sign * b.blocks,
})
const keyOf = (project: unknown, scope: unknown) => `${project ?? ''} in ${scope ?? 'all'}`

/** What an allocation counts as, from its text. */
function countAllocation(address: string): Counts {
  const length = Number(address.split('/')[1] ?? 128)
  const is64s = address.includes(':') && length <= 64
  return { allocations: 1n, ipv6_64s: is64s ? 1n << BigInt(64 - length) : 0n, blocks: 0n }
}
const oneBlock: Counts = { ...nothing, blocks: 1n }

type Data = {
  readonly project_id: string | null
  readonly scope_id: string | null
  readonly address: string
} & Limits

/**
 * Every time that a project was given something beyond a limit that was set before. The events have
 * the order of the commits, so each is held against the sum of those before it.
 */
export async function findOverruns(query: Query): Promise<string[]> {
  const used = new Map<string, Counts>()
  const limits = new Map<string, Limits>()
  const overruns: string[] = []
  const change = (data: Data, more: Counts, sign: 1n | -1n, what: string) => {
    const { project_id, scope_id } = data
    if (project_id === null) return
    for (const scope of [null, scope_id]) {
      const key = keyOf(project_id, scope)
      const sum = add(used.get(key) ?? nothing, more, sign)
      used.set(key, sum)
      const own = limits.get(key)
      const common = limits.get(keyOf(null, scope))
      for (const kind of kinds) {
        const limit = own?.[kind] ?? common?.[kind] ?? null
        if (sign < 0n || more[kind] === 0n || limit === null || sum[kind] <= BigInt(limit)) continue
        overruns.push(`${what}: ${key} has ${sum[kind]} of ${limit} ${kind}`)
      }
    }
  }
  for (const { seq, type, data } of await query(
    'select seq, type, data from events order by seq',
  )) {
    const told = data as Data
    const what = `event ${seq}, ${type}`
    const place = keyOf(told.project_id, told.scope_id)
    if (type === 'quota.updated') limits.set(place, told)
    else if (type === 'quota.deleted') limits.delete(place)
    else if (type === 'block.created') change(told, oneBlock, 1n, what)
    else if (type === 'block.deleted') change(told, oneBlock, -1n, what)
    else if (type === 'allocation.created') change(told, countAllocation(told.address), 1n, what)
    else if (type === 'allocation.released' || type === 'allocation.expired') {
      change(told, countAllocation(told.address), -1n, what)
    }
  }
  return overruns
}

/** What projects have, by project and scope. */
export async function countProjects(query: Query): Promise<Map<string, Counts>> {
  const counts = new Map<string, Counts>()
  const count = (row: Record<string, unknown>, more: Counts) => {
    for (const scope of [null, row.scope_id]) {
      const key = keyOf(row.project_id, scope)
      counts.set(key, add(counts.get(key) ?? nothing, more, 1n))
    }
  }
  const allocations = await query(
    'select project_id, scope_id, text(address) as address from allocations',
  )
  for (const row of allocations) count(row, countAllocation(String(row.address)))
  const blocks = await query('select project_id, scope_id from blocks where project_id is not null')
  for (const row of blocks) count(row, oneBlock)
  return counts
}

/** Every count that differs from what there is. */
export async function findMiscounts(query: Query): Promise<string[]> {
  const counts = await countProjects(query)
  const rows = await query(
    'select project_id, scope_id, allocations, ipv6_64s, blocks from project_usage',
  )
  const kept = new Map(rows.map(row => [keyOf(row.project_id, row.scope_id), row]))
  const text = (one: Record<string, unknown> | undefined) =>
    kinds.map(kind => `${one?.[kind] ?? 0} ${kind}`).join(', ')
  return [...new Set([...counts.keys(), ...kept.keys()])].flatMap(key => {
    const [has, says] = [text(counts.get(key)), text(kept.get(key))]
    return has === says ? [] : [`${key}: ${has}; counted as ${says}`]
  })
}
