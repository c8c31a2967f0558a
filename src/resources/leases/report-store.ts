import { Type } from 'typebox'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { oneOf } from '../../schema.ts'
import type { ReadReport } from './read-report.ts'
import { type ReportOutcome, reportRefusals } from './schema.ts'

const Refused = Type.Object({ request: Type.Integer(), refusal: oneOf(reportRefusals) })

export type Reported = {
  readonly server: string
  readonly reports: readonly ReadReport[]
  /** How long an address is at least told to nobody that a machine found in use. */
  readonly declined_seconds: number
}

/**
 * Keeps what a server told machines, and does what follows from what these said: each report by
 * itself, in one transaction. What is reported again changes nothing.
 */
export function reportLeases(
  db: Database,
  { server, reports, declined_seconds }: Reported,
): Promise<ReportOutcome> {
  const batch = JSON.stringify(reports)
  return retryTransaction(db, async tx => {
    const found = await rows(tx, Refused)`
      select request, refusal from report_leases(${server}, ${batch}, ${declined_seconds})
      order by request`
    const refused = found.flatMap(({ request, refusal: reason }) => {
      const report = reports[request]
      return report ? [{ id: report.id, allocation_id: report.allocation_id, reason }] : []
    })
    return { accepted: reports.length - refused.length, refused }
  })
}
