import type { FastifyRequest } from 'fastify'
import type { RuleName } from '../policy/defaults.ts'

/** What the policy refused. */
export type Denial = {
  readonly rule: RuleName
  /** What it was to be done to, where that is a thing with an id. */
  readonly object: { readonly kind: string; readonly id: string } | null
  /**
   * Answered as if the thing were not there. That it is there is told to nobody who may not see it
   * (I10), not even by the audit trail.
   */
  readonly isHidden: boolean
}

type Request = Pick<FastifyRequest, 'getDecorator' | 'setDecorator'>

/** Notes what was refused to a request; of many things the first. */
export function noteDenial(request: Request, denial: Denial): void {
  if (denialIn(request) === null) request.setDecorator<Denial>('denial', denial)
}

export const denialIn = (request: Request): Denial | null =>
  request.getDecorator<Denial | null>('denial')
