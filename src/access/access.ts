import type { FastifyRequest } from 'fastify'
import type { Denial } from '../audit-trail/denials.ts'
import type { Caller } from '../auth/caller.ts'
import { IpamError } from '../errors.ts'
import { authorize, authorizeForAny, denialOf } from '../policy/check.ts'
import type { RuleName } from '../policy/defaults.ts'
import type { Target } from '../policy/evaluate.ts'
import type { Rules } from '../policy/rules.ts'
import type { Bound } from './bound-store.ts'
import type { Owner } from './target-store.ts'
import { type Kind, type Named, notFound, seenBy } from './things.ts'

/** What the maker of a request may do. */
export type Access = {
  readonly caller: Caller
  readonly may: (rule: RuleName, target: Target) => boolean
  /** The same for whatever target; null if it depends on that. */
  readonly mayAlways: (rule: RuleName) => boolean | null
  /** @throws {IpamError} `forbidden` if a rule does not allow it; the log tells why */
  readonly demand: (rule: RuleName, target: Target) => void
  readonly sees: (kind: Kind, owner: Owner) => boolean
  /**
   * Whether the rule allows something done to a thing.
   *
   * @throws {IpamError} `forbidden`, or `…_not_found` of what is not there or not to be seen
   */
  readonly demandOn: (
    rule: RuleName,
    thing: Named,
    owner: Owner | undefined,
    describe?: (owner: Owner) => Target,
  ) => void
  /** Of which things a list may tell. @throws {IpamError} `forbidden` */
  readonly boundOf: (rule: RuleName, project_id?: string | null) => Bound
  /** Notes that a rule refused a thing, which is answered as if it were not there. */
  readonly noteHidden: (rule: RuleName, thing: Named) => void
}

type Log = Pick<FastifyRequest['log'], 'info'>

/** Is told of what is refused. */
export type OnDenied = (denial: Denial) => void

export function accessOf(
  rules: Rules,
  caller: Caller,
  log: Log,
  onDenied: OnDenied = () => undefined,
): Access {
  const { always, single } = verdictsOf(rules, caller)

  function mayAlways(rule: RuleName): boolean | null {
    const known = always.get(rule)
    if (known !== undefined) return known
    const verdict = authorizeForAny(rules, caller, rule)
    always.set(rule, verdict)
    return verdict
  }

  function may(rule: RuleName, target: Target): boolean {
    const sure = mayAlways(rule)
    if (sure !== null) return sure
    const key = `${rule} ${JSON.stringify(target)}`
    const known = single.get(key)
    if (known !== undefined) return known
    const { allowed } = authorize(rules, caller, rule, target)
    if (single.size >= verdictsMax) single.clear()
    single.set(key, allowed)
    return allowed
  }

  function demand(rule: RuleName, target: Target): void {
    demandFor(rule, target, null)
  }

  function demandFor(rule: RuleName, target: Target, thing: Named | null): void {
    const verdict = authorize(rules, caller, rule, target)
    if (verdict.allowed) return
    log.info(denialOf(verdict, caller), 'denied')
    onDenied({ rule, object: thing, isHidden: false })
    throw new IpamError('forbidden', `The rule ${rule} does not allow it.`)
  }

  const noteHidden = (rule: RuleName, thing: Named) =>
    onDenied({ rule, object: thing, isHidden: true })

  const sees = (kind: Kind, owner: Owner) => may(seenBy[kind], targetOf(owner))

  function demandOn(
    rule: RuleName,
    thing: Named,
    owner: Owner | undefined,
    describe: (owner: Owner) => Target = targetOf,
  ): void {
    if (!owner) throw notFound(thing)
    if (may(rule, describe(owner))) return
    if (!sees(thing.kind, owner)) {
      noteHidden(rule, thing)
      throw notFound(thing)
    }
    demandFor(rule, describe(owner), thing)
  }

  function boundOf(rule: RuleName, project_id?: string | null): Bound {
    if (project_id !== undefined) {
      demand(rule, { project_id })
      return { kind: 'all' }
    }
    if (mayAlways(rule) && may('all_projects', {})) return { kind: 'all' }
    const own = caller.project_id
    demand(rule, own === null ? {} : { project_id: own })
    const get = rule.replace(/:list.*$/, ':get') as RuleName
    const isShared = get !== rule && rules.has(get) && may(get, { project_id: null })
    return { kind: 'project', project_id: own, isShared }
  }

  return { caller, may, mayAlways, demand, sees, demandOn, boundOf, noteHidden }
}

/** What rules said to a caller: of whatever target, and of single ones. */
type Verdicts = {
  readonly always: Map<RuleName, boolean | null>
  readonly single: Map<string, boolean>
}

const verdictsMax = 1000
const verdicts = new WeakMap<Rules, WeakMap<Caller, Verdicts>>()

/**
 * To ask the rules takes as long as a good part of a request. Who asks again with the same token is the same
 * caller, and a change of the policy makes other rules.
 */
function verdictsOf(rules: Rules, caller: Caller): Verdicts {
  const ofRules = verdicts.get(rules) ?? new WeakMap<Caller, Verdicts>()
  verdicts.set(rules, ofRules)
  const known = ofRules.get(caller) ?? { always: new Map(), single: new Map() }
  ofRules.set(caller, known)
  return known
}

/** What the rules are asked about a thing. */
export const targetOf = ({
  project_id,
  scope_project_id,
  parent_project_id,
  granted_to,
}: Owner): Target => ({
  project_id,
  scope: { project_id: scope_project_id },
  parent: { project_id: parent_project_id },
  grant: { project_id: granted_to },
})

/** What they are asked about something that is made below a block. */
export const targetBelow = (parent: Owner): Target => ({
  ...targetOf(parent),
  parent: { project_id: parent.project_id },
})
