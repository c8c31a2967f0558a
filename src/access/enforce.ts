import type { FastifyInstance, FastifyRequest } from 'fastify'
import { noteDenial } from '../audit-trail/denials.ts'
import { callerOf } from '../auth/authenticate.ts'
import type { Database } from '../db/database.ts'
import { type Conflict, type ErrorCode, errorCatalogue, IpamError } from '../errors.ts'
import { canonicalAddress } from '../fields.ts'
import { keyOf } from '../idempotency.ts'
import type { RuleName } from '../policy/defaults.ts'
import type { Target } from '../policy/evaluate.ts'
import type { Rules } from '../policy/rules.ts'
import { type Access, accessOf, targetBelow, targetOf } from './access.ts'
import { type Bound, unbounded } from './bound-store.ts'
import { kindOf, type Plan, planOf } from './plans.ts'
import { noGrants, type Taking, type UnderGrants, waysToTake, withSource } from './sources.ts'
import {
  findNetworkOf,
  findOwners,
  findPublicBlock,
  isKeyKnown,
  type Owner,
  type Owners,
} from './target-store.ts'
import { type Named, notFound, seenBy } from './things.ts'

type Request = Pick<FastifyRequest, 'getDecorator'>

/** What the maker of a request may do. */
export const accessTo = (request: Request): Access => request.getDecorator<Access>('access')
/** Of which things a list may tell (I10). */
export const boundTo = (request: Request): Bound => request.getDecorator<Bound>('bound')

export type Policy = { readonly db: Database; readonly rules: () => Rules }

/**
 * Lets a request to a route of the app pass if the policy allows it (I10). A route declares nothing: its
 * rule is that of its method and path, and what it is about is told by the ids in path and body.
 * Their owners are looked up in one statement, and only where the rules ask for them. Whose a thing
 * is never changes while it is there, so that to look before the transaction is as good as to look in
 * it; only a network may be deleted, and another made with its id, in between.
 */
export function enforce(app: FastifyInstance, policy: Policy): void {
  const plans = new Map<string, Plan>()
  app.decorateRequest('access', null)
  app.decorateRequest('bound', null)
  app.decorateRequest('underGrants', null)
  app.addHook('onRoute', ({ method, url, schema }) => {
    for (const one of [method].flat()) {
      const plan = planOf({ method: one, url }, schema?.body, id => app.getSchema(id))
      plans.set(`${one} ${url}`, plan)
    }
  })
  const planOfRequest = ({ method, routeOptions: { url } }: FastifyRequest): Plan => {
    const plan = plans.get(`${method} ${url}`)
    if (!plan) throw new Error(`no plan for ${method} ${url}`)
    return plan
  }
  // After the fingerprint of what was sent, and before what has to be there is looked for.
  app.addHook('preValidation', async request => {
    const access = accessOf(policy.rules(), callerOf(request), request.log, denial =>
      noteDenial(request, denial),
    )
    request.setDecorator<Access>('access', access)
    request.setDecorator<Bound>('bound', unbounded)
    request.setDecorator<UnderGrants>('underGrants', noGrants)
    nameProject(request.body, access, planOfRequest(request))
  })
  app.addHook('preHandler', async request => {
    await check(request, planOfRequest(request), policy.db)
  })
  app.addHook<Partial<Problem> | null>('preSerialization', (request, _reply, payload, done) => {
    if (!payload?.conflicts) return done(null, payload)
    hideConflicts(request, payload as Problem, policy.db).then(
      shown => done(null, shown),
      error => done(error),
    )
  })
}

type Problem = {
  readonly code: ErrorCode
  readonly detail: string
  readonly conflicts: readonly Conflict[]
}

const kindOfConflict = {
  block: 'block',
  allocation: 'allocation',
  quarantine: 'allocation',
  mac: 'mac',
} as const

/** A problem without those things in the way that the caller may not see, and without their names. */
async function hideConflicts(request: Request, problem: Problem, db: Database): Promise<object> {
  const access = accessTo(request)
  const named = problem.conflicts.map(({ type, id }) => ({ kind: kindOfConflict[type], id }))
  if (named.every(({ kind }) => access.mayAlways(seenBy[kind]) === true)) return problem
  const owners = await findOwners(db, named, access.caller.project_id)
  const conflicts = problem.conflicts.filter((_, index) => {
    const { kind, id } = named[index] as (typeof named)[number]
    const owner = owners({ kind, id })
    return owner !== undefined && access.sees(kind, owner)
  })
  if (conflicts.length === named.length) return problem
  return { ...problem, conflicts, detail: `${errorCatalogue[problem.code].title}.` }
}

type Body = Readonly<Record<string, unknown>>

const isObject = (value: unknown): value is Body =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * Whoever says of no project is meant to be in his own. Only who may make things of no project, and leaves
 * out what may be left out, makes those.
 */
function nameProject(body: unknown, access: Access, { project, rule }: Plan): void {
  const { project_id } = access.caller
  // The project of a grant is who gets it.
  if (project === 'none' || project_id === null || rule === 'grants:create') return
  if (!isObject(body)) return
  const bodies = Array.isArray(body.items) ? body.items.filter(isObject) : [body]
  for (const one of bodies) {
    if (Object.hasOwn(one, 'project_id') || Object.hasOwn(one, 'system_scope')) continue
    // Allocations that are named one by one are of whatever project they are.
    if (rule === 'allocations:release' && !Object.hasOwn(one, 'owner_id')) continue
    if (project === 'optional' && access.mayAlways(rule) === true) continue
    Object.assign(one, { project_id })
  }
}

async function check(request: FastifyRequest, plan: Plan, db: Database): Promise<void> {
  const access = accessTo(request)
  const { query } = request
  const params = request.params as Readonly<Record<string, string>>
  const { rule, about, parameter } = plan
  if (about === 'batch') return
  if (about === 'list') {
    const { project_id } = query as { project_id?: string }
    const asked = rule.startsWith('quotas:') && project_id === 'default' ? null : project_id
    request.setDecorator<Bound>('bound', access.boundOf(rule, asked))
    return
  }
  if (about === 'project') {
    const name = params.project_id ?? ''
    access.demand(rule, { project_id: name === 'default' ? null : name })
  }
  const body = isObject(request.body) ? request.body : {}
  const subject: Named | null =
    about === 'thing' && parameter
      ? { kind: kindOf(parameter), id: params[parameter] ?? '', field: parameter }
      : null
  const { scope_id } = query as { scope_id?: string }
  const named = [
    ...namesIn(body, plan),
    // Limits are those of a project in an address scope, which is looked up to show them.
    ...(about === 'project' && scope_id !== undefined
      ? [{ kind: 'address_scope', id: scope_id, field: 'scope_id' } as const]
      : []),
  ]
  if (needsNoLook(access, plan, named)) return

  const address = await publicBlockOf(db, rule, body)
  const asked = [...(subject ? [subject] : []), ...named, ...address]
  const owners = await findOwners(db, asked, access.caller.project_id)
  const key = keyOf(request)
  const missing = asked.find(one => !owners(one))
  if (missing) {
    // What was done under a key is answered again, even if it is gone meanwhile.
    if (key && (await isKeyKnown(db, key))) return
    throw refusalOf(missing, body)
  }
  const found: Found = { access, plan, body, owners, named: [...named, ...address], key }
  if (subject && rule === 'interfaces:create_addresses') {
    request.setDecorator<UnderGrants>('underGrants', await checkInterface(db, subject, found))
  } else if (subject) checkSubject(subject, found)
  const sources = found.named.filter(one => isSource(plan, one))
  for (const one of found.named) {
    const owner = owners(one) as Owner
    if (!sources.includes(one) && !access.sees(one.kind, owner)) {
      access.noteHidden(rule, one)
      throw refusalOf(one, body)
    }
    if (joins(plan, one)) access.demand('networks:update', targetOf(owner))
  }
  if (!subject && about === 'body') {
    const { targets, takings } = targetsOf(found, sources)
    for (const target of targets) access.demand(rule, target)
    request.setDecorator<UnderGrants>('underGrants', await checkTakings(db, takings, found))
  }
}

/** Whether the rules allow all of it whatever it is done to. */
const needsNoLook = (access: Access, plan: Plan, named: readonly Named[]): boolean =>
  access.mayAlways(plan.rule) === true &&
  (plan.rule !== 'blocks:update' || access.mayAlways('blocks:resize') === true) &&
  named.every(
    one =>
      access.mayAlways(seenBy[one.kind]) === true &&
      (!joins(plan, one) || access.mayAlways('networks:update') === true),
  )

type Found = {
  readonly access: Access
  readonly plan: Plan
  readonly body: Body
  readonly owners: Owners
  readonly named: readonly Named[]
  readonly key: ReturnType<typeof keyOf>
}

/** What is done to a thing, and what is made below it for another project. */
function checkSubject(subject: Named, { access, plan: { rule }, body, owners }: Found): void {
  const owner = owners(subject)
  const { project_id, cidr } = body
  const isBelow = rule === 'blocks:create'
  access.demandOn(rule, subject, owner, isBelow ? targetBelow : targetOf)
  if (!owner) return
  if (rule === 'blocks:update' && cidr !== undefined)
    access.demand('blocks:resize', targetOf(owner))
  if (typeof project_id !== 'string' || project_id === owner.project_id) return
  if (isBelow && access.may('blocks:hand_over', targetBelow(owner))) return
  access.demand(rule, { ...targetBelow(owner), project_id })
}

type Asked = { readonly targets: readonly Target[]; readonly takings: readonly Taken[] }
type Taken = Taking & { readonly source: Named }

/** What a body without a thing in the path is about, also once for each place that addresses come from. */
function targetsOf({ access, plan, body, owners, named }: Found, sources: readonly Named[]): Asked {
  const ownerOf = (field: string) => {
    const one = named.find(name => name.field === field)
    return one && owners(one)
  }
  const { rule } = plan
  const { project_id: asked = null } = body
  const project_id = asked as string | null
  if (rule === 'grants:create') {
    // Its project is who gets it; it is a matter of whose the place is.
    const places = ['block_id', 'network_id'].flatMap(field => ownerOf(field) ?? [])
    return { targets: places.map(targetOf), takings: [] }
  }
  const local = ownerOf('inside_local_id')
  const parent = ownerOf('parent_id')
  const scope = ownerOf('scope_id')?.project_id ?? parent?.scope_project_id ?? null
  const base = {
    project_id: local ? local.project_id : project_id,
    scope: { project_id: scope },
    parent: { project_id: parent?.project_id ?? null },
  }
  if (sources.length > 0) {
    const takings = sources.map(source => {
      return { rule, source, owner: owners(source) as Owner, target: base }
    })
    return { targets: [], takings }
  }
  // It takes nothing from anybody. A child is also a change of its parent.
  const own = withSource(base, base.project_id)
  if (!parent) return { targets: [own], takings: [] }
  const above = targetBelow(parent)
  const isGiven = project_id !== parent.project_id && access.may('blocks:hand_over', above)
  return { targets: isGiven ? [above] : [own, above], takings: [] }
}

/** The places from which addresses may be taken only under a grant. @throws {IpamError} */
async function checkTakings(
  db: Database,
  takings: readonly Taken[],
  { access, plan: { rule }, body, key }: Found,
): Promise<UnderGrants> {
  const ways = await waysToTake(db, access, takings, key)
  for (const [index, { source, owner, target }] of takings.entries()) {
    const way = ways[index]
    if (way === 'free' || way === 'granted') continue
    const known = way === 'refused' ? owner : { ...owner, granted_to: null }
    if (!access.sees(source.kind, known)) {
      access.noteHidden(rule, source)
      throw refusalOf(source, body)
    }
    access.demand(rule, withSource(target, owner.project_id))
  }
  const granted = takings.filter((_, index) => ways[index] === 'granted')
  return new Set(granted.map(({ source }) => source.id.toLowerCase()))
}

/** More addresses of the network that an interface is on. @throws {IpamError} */
async function checkInterface(
  db: Database,
  subject: Named,
  { access, plan: { rule }, owners, key }: Found,
): Promise<UnderGrants> {
  const owner = owners(subject)
  if (!owner) throw notFound(subject)
  if (!access.sees('interface', owner)) {
    access.noteHidden(rule, subject)
    throw notFound(subject)
  }
  const id = await findNetworkOf(db, subject.id)
  const source = { kind: 'network', id: id ?? noId } as const
  const network = (await findOwners(db, [source]))(source)
  const target = targetOf(owner)
  const { project_id } = owner
  const taking = { rule, source, owner: network ?? owner, target: { ...target, project_id } }
  const [way] = await waysToTake(db, access, [taking], key)
  if (way !== 'free' && way !== 'granted')
    access.demand(rule, withSource(target, taking.owner.project_id))
  return way === 'granted' ? new Set([source.id]) : noGrants
}

/** Operations that take addresses from the block or network that they name. */
const takers: ReadonlySet<RuleName> = new Set([
  'floating_ips:create',
  'interfaces:create',
  'device_interfaces:set',
])
const isSource = ({ rule }: Plan, { kind }: Named): boolean =>
  takers.has(rule) && (kind === 'block' || kind === 'network')

/** A block that comes to a network changes what is on it. */
const joins = ({ rule }: Plan, { kind }: Named): boolean =>
  kind === 'network' && (rule === 'blocks:create' || rule === 'blocks:update')

function namesIn(body: Body, { names }: Plan): Named[] {
  const { interfaces } = body
  const bodies = [body, ...(Array.isArray(interfaces) ? interfaces.filter(isObject) : [])]
  return bodies.flatMap(one =>
    names.flatMap(field => {
      const id = one[field]
      return typeof id === 'string' ? [{ kind: kindOf(field), id, field }] : []
    }),
  )
}

/** A floating IP may be asked for by its address alone, which is in one block. */
async function publicBlockOf(db: Database, rule: RuleName, body: Body): Promise<Named[]> {
  const { address, block_id, network_id } = body
  const isAlone = rule === 'floating_ips:create' && !block_id && !network_id
  if (!isAlone || typeof address !== 'string') return []
  const id = await findPublicBlock(db, canonicalAddress(address, 'address'))
  return [{ kind: 'block', id: id ?? noId, field: 'address' }]
}

/** What nothing has. */
const noId = '00000000-0000-0000-0000-000000000000'

const outsideBlocks = ({ address }: Body) =>
  new IpamError(
    'address_outside_block',
    `No block of the public address scope holds ${canonicalAddress(String(address), 'address')}.`,
    { field: 'address' },
  )

function refusalOf(named: Named, body: Body): IpamError {
  if (named.field === 'address') return outsideBlocks(body)
  return notFound(named, named.field in body ? { field: named.field } : {})
}
