import { ruleOfOperation } from '../policy/operation-rules.ts'

// The words of CADF (DMTF DSP0262) for what Melange does: an action of its taxonomy, and behind a
// slash what it is more precisely.

const actions: Readonly<Record<string, string>> = {
  create: 'create',
  created: 'create',
  get: 'read',
  list: 'read/list',
  update: 'update',
  updated: 'update',
  set: 'update/set',
  delete: 'delete',
  deleted: 'delete',
  release: 'delete/release',
  released: 'delete/release',
  expired: 'delete/expire',
  end: 'delete/end',
  renew: 'renew',
  renewed: 'renew',
  restore: 'restore',
  revoke: 'revoke',
  revoked: 'revoke',
  confirmed: 'update/confirm',
  declined: 'update/decline',
  withholding_ended: 'delete/end',
  associated: 'update/associate',
  moved: 'update/move',
  disassociated: 'update/disassociate',
  threshold_reached: 'notify/threshold_reached',
  threshold_left: 'notify/threshold_left',
}

const ofMethod: Readonly<Record<string, string>> = {
  GET: 'read',
  HEAD: 'read',
  POST: 'create',
  PATCH: 'update',
  PUT: 'update',
  DELETE: 'delete',
}

const actionOf = (verb: string): string =>
  actions[verb] ?? (/^(get|list)_/.test(verb) ? 'read' : `update/${verb}`)

/** What an event tells of: `floating_ip.moved` is `update/move` of a `floating_ip`. */
export function readEventType(type: string): { object_type: string; action: string } {
  const [object_type = '', verb = ''] = type.split('.')
  return { object_type, action: actionOf(verb) }
}

/** What a rule decides about: `networks:update` is `update` of a `network`. */
export function readRule(rule: string, method: string): { object_type: string; action: string } {
  const [things = '', verb = ''] = rule.split(':')
  const byMethod = ofMethod[method] ?? 'unknown'
  if (things === 'melange_v1') return { object_type: 'unknown', action: byMethod }
  return { object_type: singular(things), action: actionOf(verb) }
}

/** What an operation is and does, as far as it tells that. */
export const readOperation = (operation: string) =>
  readRule(ruleOfOperation(operation) ?? 'melange_v1:', operation.split(' ')[0] ?? '')

const singular = (things: string): string =>
  things
    .replace(/ies$/, 'y')
    .replace(/sses$/, 'ss')
    .replace(/(?<!s)s$/, '')

/** Whether an action is the one that is asked for, or one kind of it. */
export const isAction = (action: string, asked: string): boolean =>
  action === asked || action.startsWith(`${asked}/`)
