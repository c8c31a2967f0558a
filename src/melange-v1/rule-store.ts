import { type Static, Type } from 'typebox'
import { type Database, rows } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { newId } from '../ids.ts'
import { StoredRules } from '../resources/policies/schema.ts'
import { updatePolicy } from '../resources/policies/store.ts'
import { Id, Nullable, oneOf, Time } from '../schema.ts'
import { octetsOf, offsetsOf } from './exclusions.ts'
import { isUuid } from './ids.ts'
import { behindMarker } from './marker-store.ts'
import type { Page } from './page.ts'

const kinds = ['range', 'octet'] as const
export type RuleKind = (typeof kinds)[number]

const Row = Type.Object({
  id: Id,
  policy_id: Id,
  kind: oneOf(kinds),
  offset: Nullable(Type.Integer()),
  length: Nullable(Type.Integer()),
  octet: Nullable(Type.Integer()),
  created_at: Time,
  updated_at: Time,
})
/** An unusable range, which has an offset and a length, or an unusable octet. */
export type Rule = Static<typeof Row>

const columns = sql`id, policy_id, kind, "offset", length, octet, created_at, updated_at`

type Place = { readonly policy_id: string; readonly kind: RuleKind }

/** Null if there is none. */
export async function getRule(
  db: Database,
  { id, policy_id, kind }: Place & { readonly id: string },
): Promise<Rule | null> {
  if (!isUuid(id)) return null
  const [rule] = await rows(db, Row)`
    select ${columns} from v1_policy_rules
    where id = ${id} and policy_id = ${policy_id} and kind = ${kind}`
  return rule ?? null
}

/** One more than a page holds. */
export function listRules(db: Database, { policy_id, kind }: Place, page: Page): Promise<Rule[]> {
  return rows(db, Row)`
    select ${columns} from v1_policy_rules
    where policy_id = ${policy_id} and kind = ${kind} and ${behindMarker(sql`id`, page)}
    order by id limit ${page.limit + 1}`
}

type Numbers = Pick<Rule, 'offset' | 'length' | 'octet'>

/** @throws {Fault} 422 where a policy has no room for it */
export async function createRule(tx: Database, rule: Place & Numbers): Promise<Rule> {
  const { policy_id, kind, offset, length, octet } = rule
  await lockPolicy(tx, policy_id)
  const [created] = await rows(tx, Row)`
    insert into v1_policy_rules (id, policy_id, kind, "offset", length, octet)
    values (${newId()}, ${policy_id}, ${kind}, ${offset}, ${length}, ${octet})
    returning ${columns}`
  if (!created) throw new Error('a rule that was inserted did not come back')
  await applyToPolicy(tx, policy_id)
  return created
}

/** @throws {Fault} 422 where a policy has no room for it */
export async function updateRule(tx: Database, rule: Rule): Promise<Rule> {
  await lockPolicy(tx, rule.policy_id)
  const [updated] = await rows(tx, Row)`
    update v1_policy_rules set "offset" = ${rule.offset}, length = ${rule.length},
      octet = ${rule.octet}, updated_at = clock_timestamp()
    where id = ${rule.id} returning ${columns}`
  if (!updated) throw new Error('a rule that was changed did not come back')
  await applyToPolicy(tx, rule.policy_id)
  return updated
}

export async function deleteRule(tx: Database, { id, policy_id }: Rule): Promise<void> {
  await lockPolicy(tx, policy_id)
  await tx.query(sql`delete from v1_policy_rules where id = ${id}`)
  await applyToPolicy(tx, policy_id)
}

async function lockPolicy(tx: Database, id: string): Promise<void> {
  await tx.query(sql`select from policies where id = ${id} for no key update`)
}

const Stored = Type.Object({ rules: StoredRules })

/** Makes the exclusions of a policy what its ranges and octets say; what else it excludes stays. */
async function applyToPolicy(tx: Database, id: string): Promise<void> {
  const all = await rows(tx, Row)`
    select ${columns} from v1_policy_rules where policy_id = ${id}`
  const [policy] = await rows(tx, Stored)`select rules from policies where id = ${id}`
  const { exclusions, ...others } = policy?.rules ?? {}
  const { offsets: _, last_octets: __, ...kept } = exclusions ?? {}
  const [offsets, last_octets] = [offsetsOf(all), octetsOf(all)]
  const excluded = {
    ...kept,
    ...(offsets.length > 0 && { offsets }),
    ...(last_octets.length > 0 && { last_octets }),
  }
  const isEmpty = Object.keys(excluded).length === 0
  const rules = { ...others, ...(!isEmpty && { exclusions: excluded }) }
  await updatePolicy(tx, { id }, { rules })
}
