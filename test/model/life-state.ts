import { Type } from 'typebox'
import { expect } from 'vitest'
import { type Database, rows } from '../../src/db/database.ts'
import { AddressText, Nullable, Time } from '../../src/schema.ts'
import { usageOf } from './life-model.ts'
import { readPrefix, showPrefix } from './space.ts'
import type { State } from './state.ts'

const Waiting = Type.Object({
  allocation_id: Type.String(),
  scope_id: Type.String(),
  block_id: Type.String(),
  address: AddressText,
  ended_at: Time,
  quarantined_until: Time,
})
const Usage = Type.Object({
  project_id: Type.String(),
  scope_id: Nullable(Type.String()),
  allocations: Type.String(),
  ipv6_64s: Type.String(),
  blocks: Type.String(),
})

/** What waits in quarantine, and what projects use, is what the model holds. */
export async function expectSameLife(db: Database, state: State): Promise<void> {
  const waiting = await rows(db, Waiting)`
    select allocation_id, scope_id, block_id, address, ended_at, quarantined_until
    from quarantine order by allocation_id`
  const shown = waiting.map(one => ({ ...one, address: showPrefix(readPrefix(one.address)) }))
  const expected = state.waiting
    .map(({ id, scope_id, block_id, prefix, ended_at, quarantined_until }) => {
      const address = showPrefix(prefix)
      return { allocation_id: id, scope_id, block_id, address, ended_at, quarantined_until }
    })
    .sort((a, b) => (a.allocation_id < b.allocation_id ? -1 : 1))
  expect(shown).toEqual(expected)

  const usages = await rows(db, Usage)`
    select project_id, scope_id, allocations::text, ipv6_64s::text, blocks::text
    from project_usage`
  for (const project_id of new Set(state.allocations.map(one => one.project_id))) {
    for (const scope_id of [...state.scopes, null]) {
      const row = usages.find(one => one.project_id === project_id && one.scope_id === scope_id)
      const { allocations = '0', ipv6_64s = '0', blocks = '0' } = row ?? {}
      const used = usageOf(state, project_id, scope_id)
      expect({ project_id, scope_id, allocations, ipv6_64s, blocks }).toEqual({
        project_id,
        scope_id,
        allocations: String(used.allocations),
        ipv6_64s: String(used.ipv6_64s),
        blocks: String(used.blocks),
      })
    }
  }
}
