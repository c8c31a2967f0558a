import { type Static, Type } from 'typebox'
import { type Database, rows } from '../db/database.ts'
import { sql } from '../db/sql.ts'
import { newId } from '../ids.ts'
import { updateBlock } from '../resources/blocks/update-store.ts'
import { createPolicy, deletePolicy, updatePolicy } from '../resources/policies/store.ts'
import { Id, Time } from '../schema.ts'
import { notFound } from './fault.ts'
import { isUuid } from './ids.ts'
import { behindMarker } from './marker-store.ts'
import type { Page } from './page.ts'

const Row = Type.Object({
  id: Id,
  name: Type.String(),
  description: Type.Union([Type.String(), Type.Null()]),
  tenant_id: Type.String(),
  tags: Type.Array(Type.String()),
  created_at: Time,
  updated_at: Time,
})
/** A policy as the original shows it. */
export type PolicyRow = Static<typeof Row>

/** A description that is an empty text; without this tag there is none. */
const emptyDescription = 'melange-v1:empty-description'

function tagsOf(tags: readonly string[], description: string | null): string[] {
  const others = tags.filter(tag => tag !== emptyDescription)
  return description === '' ? [...others, emptyDescription] : others
}

/**
 * Names of policies are unique in a project here, and were not in the original: one that is taken
 * is followed by ` (` uuid `)`, which is not shown.
 */
const columns = sql`
  id, regexp_replace(name, ' \\([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\\)$', '') as name,
  case when not tags @> ${[emptyDescription]} then nullif(description, '') else description end
    as description, project_id as tenant_id, tags, created_at, updated_at`

/** @throws {Fault} 404 */
export async function getOwnPolicy(
  db: Database,
  { id, tenant_id }: { readonly id: string; readonly tenant_id: string },
): Promise<PolicyRow> {
  const [policy] = isUuid(id)
    ? await rows(db, Row)`
        select ${columns} from policies where id = ${id} and project_id = ${tenant_id}`
    : []
  if (!policy) throw notFound('Policy')
  return policy
}

const Owner = Type.Object({ project_id: Type.Union([Type.String(), Type.Null()]) })

/** Whose a policy is; undefined if there is none. */
export async function findPolicy(
  db: Database,
  id: string,
): Promise<Static<typeof Owner> | undefined> {
  if (!isUuid(id)) return undefined
  const [found] = await rows(db, Owner)`select project_id from policies where id = ${id}`
  return found
}

/** One more than a page holds. */
export function listOwnPolicies(db: Database, tenant_id: string, page: Page): Promise<PolicyRow[]> {
  return rows(db, Row)`
    select ${columns} from policies
    where project_id = ${tenant_id} and ${behindMarker(sql`id`, page)}
    order by id limit ${page.limit + 1}`
}

type Names = { readonly name: string; readonly description: string | null }

export async function createPolicyNamed(
  tx: Database,
  { tenant_id, name, description }: Names & { readonly tenant_id: string },
): Promise<PolicyRow> {
  const { id } = await createPolicy(tx, {
    project_id: tenant_id,
    name: await freeName(tx, { tenant_id, name, id: null }),
    description: description ?? '',
    tags: tagsOf([], description),
  })
  return getOwnPolicy(tx, { id, tenant_id })
}

export async function changePolicyNames(
  tx: Database,
  { id, tenant_id, name: before, tags: old }: PolicyRow,
  { name, description }: Names,
): Promise<PolicyRow> {
  const rename = name === before ? {} : { name: await freeName(tx, { tenant_id, name, id }) }
  const tags = tagsOf(old, description)
  await updatePolicy(tx, { id }, { ...rename, description: description ?? '', tags })
  return getOwnPolicy(tx, { id, tenant_id })
}

type Wanted = { readonly tenant_id: string; readonly name: string; readonly id: string | null }

async function freeName(tx: Database, { tenant_id, name, id }: Wanted): Promise<string> {
  const taken = await rows(tx, Type.Object({ id: Id }))`
    select id from policies
    where project_id = ${tenant_id} and name = ${name} and id is distinct from ${id}::uuid`
  return taken.length === 0 ? name : `${name} (${newId()})`
}

/** Takes a policy from all blocks that have it, and deletes it. */
export async function deletePolicyWithRules(tx: Database, { id }: PolicyRow): Promise<void> {
  const blocks = await rows(tx, Type.Object({ id: Id }))`
    select id from blocks where policy_id = ${id} order by scope_id, id`
  for (const block of blocks) {
    await updateBlock(tx, { id: block.id }, { policy_id: null })
  }
  await deletePolicy(tx, { id })
}
