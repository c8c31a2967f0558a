import { decides } from './decides.ts'

/** Who may do what with leases: a part of operation-rules.ts. */
export const leaseRules = {
  'leases:report': decides(
    'rule:admin_required or rule:service_role',
    'Report what machines were told and said, by which allocations end or are withheld.',
    ['POST /v2/leases'],
  ),
  'leases:list': decides('rule:project_reader_or_service', 'List what machines were told.', [
    'GET /v2/leases',
  ]),
  'withheld_addresses:list': decides(
    'rule:project_reader_or_service',
    'List the addresses that are told to nobody.',
    ['GET /v2/withheld-addresses'],
  ),
  'withheld_addresses:end': decides(
    'rule:project_manager',
    'Let servers tell an address again before its time.',
    ['DELETE /v2/withheld-addresses/{allocation_id}'],
  ),
} as const
