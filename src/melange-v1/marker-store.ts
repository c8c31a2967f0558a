import { type Sql, sql } from '../db/sql.ts'
import { isUuid } from './ids.ts'
import type { Page } from './page.ts'

/** What lies behind the marker of a page: mostly the id of a row, but any text will do. */
export function behindMarker(column: Sql, { marker }: Pick<Page, 'marker'>): Sql {
  if (marker === null) return sql`true`
  if (isUuid(marker)) return sql`${column} > ${marker}::uuid`
  return sql`${column}::text collate "C" > ${marker}::text collate "C"`
}
