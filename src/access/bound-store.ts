import { allOf, type Sql, sql } from '../db/sql.ts'

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

export type BoundedPage = {
  readonly table: Sql
  readonly conditions: readonly Sql[]
  readonly order: Sql
  readonly limit: number
}

/**
 * The condition of a list that holds what is of a project and more beside it. Each is a page of its own,
 * found by its own index, and what is wanted is among these.
 */
export function boundedBeside(
  bound: Bound,
  more: readonly Sql[],
  { table, conditions, order, limit }: BoundedPage,
): Sql[] {
  if (bound.kind === 'all' || bound.project_id === null) return boundedTo(bound)
  const pages = [allOf(boundedTo(bound)), ...more].map(
    of => sql`(select id from ${table} where ${allOf([of, ...conditions])}
      order by ${order} limit ${limit})`,
  )
  return [sql`id in (${pages.reduce((all, one) => sql`${all} union all ${one}`)})`]
}
