import type { FastifyInstance, FastifyRequest } from 'fastify'
import { callerOf } from '../auth/authenticate.ts'
import type { DoneBy } from '../db/database.ts'
import { pathPattern } from '../path-pattern.ts'
import type { Callers } from './callers.ts'

type Request = Pick<FastifyRequest, 'getDecorator'>

/** In whose name a request changes something. */
export const doneByOf = (request: Request): DoneBy => {
  const doneBy = request.getDecorator<DoneBy | null>('doneBy')
  if (!doneBy) throw new Error('it is not known who asks')
  return doneBy
}

/** The UUID in an id of a request that has OpenStack's form, such as `req-…`; else null. */
export const uuidOf = (id: unknown): string | null =>
  /^req-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/i.exec(String(id))?.[1]?.toLowerCase() ??
  null

/** The request of which this one is a part: another service made it for that, and says so. */
export const globalRequestIdOf = ({ headers }: Pick<FastifyRequest, 'headers'>): string | null =>
  uuidOf(headers['x-openstack-request-id'])

/** `PATCH /v2/networks/{network_id}`, as the rules of the policy have it. */
export const operationOf = ({ method, routeOptions: { url = '' } }: FastifyRequest): string =>
  `${method} ${pathPattern(url)}`

export const isWrite = ({ method }: Pick<FastifyRequest, 'method'>): boolean =>
  method !== 'GET' && method !== 'HEAD'

/** Who asks, as the changes are noted that the request makes. */
export function nameWhoAsks(
  request: FastifyRequest,
  { callers, operation }: { readonly callers: Callers; readonly operation: string },
): DoneBy | Promise<DoneBy> {
  const request_id = uuidOf(request.id) ?? ''
  const global_request_id = globalRequestIdOf(request)
  const named = (caller_id: number): DoneBy => ({ caller_id, request_id, global_request_id })
  const id = callers.idOf(request, callerOf(request), operation)
  return typeof id === 'number' ? named(id) : id.then(named)
}

/** Finds out who asks before the handler of a write begins; of who is known that takes no time. */
export function nameWriters(
  app: Pick<FastifyInstance, 'decorateRequest' | 'addHook'>,
  callers: Callers,
): void {
  app.decorateRequest('doneBy', null)
  app.addHook('preHandler', (request, _reply, done) => {
    if (!isWrite(request)) return done()
    const doneBy = nameWhoAsks(request, { callers, operation: operationOf(request) })
    if (!(doneBy instanceof Promise)) {
      request.setDecorator<DoneBy>('doneBy', doneBy)
      return done()
    }
    doneBy.then(named => {
      request.setDecorator<DoneBy>('doneBy', named)
      done()
    }, done)
  })
}
