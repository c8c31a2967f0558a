import { type Sql, sql } from '../db/sql.ts'

/** Of which things a list may tell (I10): of all, or of those of a project and shared ones. */
export type Bound =
  | { readonly kind: 'all' }
  | {
      readonly kind: 'project'
      /** Null is no project: nothing but what is shared. */
      readonly project_id: string | null
      /** Whether things of no project are shared with everybody. */
      readonly isShared: boolean
    }

/** What a program asks for itself. */
export const unbounded: Bound = { kind: 'all' }

/** The conditions that keep a list within its bound, of the column that holds the project. */
export function boundedTo(bound: Bound, column: Sql = sql`project_id`): Sql[] {
  if (bound.kind === 'all') return []
  const { project_id, isShared } = bound
  if (isShared) return [sql`(${column} = ${project_id} or ${column} is null)`]
  return [sql`${column} = ${project_id}`]
}
