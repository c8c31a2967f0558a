import { readEventType } from '../../audit-trail/actions.ts'
import type { EventType } from '../events/store.ts'
import type { AuditRecord } from './schema.ts'
import type { TrailRow } from './store.ts'

/** Who reads: whether of all projects, and else of which one. */
export type Reader = { readonly isOfAll: boolean; readonly project_id: string | null }

const nobody: Omit<AuditRecord['initiator'], 'typeURI' | 'id'> = {
  name: null,
  domain_id: null,
  project_id: null,
  scope: null,
  roles: [],
  credential: null,
  service: null,
  host: null,
}
const melange = { ...nobody, typeURI: 'service/network', id: 'melange' }
const unknown = { ...nobody, typeURI: 'unknown', id: 'unknown' }

/** A record of the trail, without what its reader is not to be told (I10). */
export function recordOf(row: TrailRow, reader: Reader): AuditRecord {
  const { object_type, action } = row.event === null ? row : readEventType(row.event)
  return {
    typeURI: 'http://schemas.dmtf.org/cloud/audit/1.0/event',
    id: String(row.seq),
    eventType: 'activity',
    eventTime: row.at,
    action: action ?? 'unknown',
    outcome: row.event === null ? 'failure' : 'success',
    reason:
      row.status === null
        ? null
        : { reasonType: 'HTTP', reasonCode: String(row.status), policyId: row.rule },
    initiator: initiatorOf(row, reader),
    target: {
      typeURI: typeOf(object_type ?? 'unknown'),
      id: row.object_id,
      project_id: row.target_project_id,
    },
    observer: { typeURI: 'service/network', id: 'melange' },
    operation: row.operation,
    request_id: asRequestId(row.request_id),
    global_request_id: asRequestId(row.global_request_id),
    event: row.event as EventType | null,
    count: row.count,
  }
}

const asRequestId = (uuid: string | null): string | null => uuid && `req-${uuid}`

function typeOf(object_type: string): string {
  if (object_type === 'token') return 'data/security/credential'
  return object_type === 'unknown' ? 'unknown' : `network/${object_type}`
}

function initiatorOf(row: TrailRow, reader: Reader): AuditRecord['initiator'] {
  const { user_id, user_name: name, address, agent } = row
  if (row.event !== null && row.caller_id === null) return melange
  const host = address === null ? null : { address, agent }
  if (user_id === null) return { ...unknown, host: reader.isOfAll ? host : null }
  const isOwn = row.project_id !== null && row.project_id === reader.project_id
  if (!reader.isOfAll && !isOwn) return unknown
  return {
    typeURI: 'service/security/account/user',
    id: user_id,
    name,
    domain_id: row.user_domain_id,
    project_id: row.project_id,
    scope: scopeOf(row),
    roles: row.roles ?? [],
    credential: { type: row.authority as 'keystone' | 'token' | 'oidc' },
    service:
      row.service_user_id === null || !reader.isOfAll
        ? null
        : { id: row.service_user_id, project_id: row.service_project_id },
    // The request of a user that a service passes on comes from where the service is.
    host: row.service_user_id !== null && !reader.isOfAll ? null : host,
  }
}

function scopeOf({ project_id, domain_id, system_scope }: TrailRow) {
  if (system_scope !== null) return 'system'
  if (domain_id !== null) return 'domain'
  return project_id === null ? 'none' : 'project'
}
