import type { RouteOptions } from 'fastify'
import { pathPattern } from '../path-pattern.ts'
import type { RuleName } from '../policy/defaults.ts'
import { ruleOfOperation } from '../policy/operation-rules.ts'
import { type Kind, namedBy } from './things.ts'

/** How a route is checked; found from its path and the members of its body. */
export type Plan = {
  readonly rule: RuleName
  /** What it is about: a thing, a project, a list of things, what a body says, or a batch. */
  readonly about: 'thing' | 'project' | 'list' | 'body' | 'batch'
  /** The parameter that names the thing, or the project. */
  readonly parameter: string | null
  /** Members of the body that name things, at the top or in each of `interfaces`. */
  readonly names: readonly string[]
  /** Whether the body has a member `project_id`, and whether it has to. */
  readonly project: 'required' | 'optional' | 'none'
}

/** Operations on many things, each of which may be refused by itself: their handlers ask the rules. */
const decidedInBatches: ReadonlySet<string> = new Set([
  'POST /v2/allocations',
  'POST /v2/allocations/bulk',
  'POST /v2/allocations/release',
  'POST /v2/allocations/renew',
  'DELETE /v2/allocations/{allocation_id}',
  'POST /v2/quarantine/end',
])

/** Members of bodies that end in `_id` and name nothing that has an owner. */
const onlyTexts = new Set(['project_id', 'owner_id', 'device_id', 'client_id'])

type Schema = {
  readonly $ref?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly required?: readonly string[]
}

/** @throws {Error} of a route without a rule, or of a body whose members nobody checks */
export function planOf(
  { method, url }: Pick<RouteOptions, 'method' | 'url'>,
  body: unknown,
  resolve: (id: string) => unknown,
): Plan {
  const path = pathPattern(url)
  const verb = method === 'HEAD' ? 'GET' : String(method)
  const operation = `${verb} ${path}`
  const rule = ruleOfOperation(operation)
  if (!rule) throw new Error(`no rule of the policy decides about ${operation}`)
  const schema = (one: unknown): Schema => {
    const { $ref } = (one ?? {}) as Schema
    return ($ref === undefined ? one : resolve($ref.replace(/#$/, ''))) as Schema
  }
  const whole = (body === undefined ? {} : schema(body)) ?? {}
  const { properties = {} } = whole
  if (decidedInBatches.has(operation)) {
    const each = schema(properties.items?.items) ?? whole
    return { rule, about: 'batch', parameter: null, names: [], project: projectIn(each) }
  }
  const ofEach = schema(properties.interfaces?.items)?.properties ?? {}
  const members = new Set([...Object.keys(properties), ...Object.keys(ofEach)])
  const names = [...members].filter(name => /_ids?$/.test(name) && !onlyTexts.has(name))
  const unknown = names.find(name => !Object.hasOwn(namedBy, name))
  if (unknown) throw new Error(`${operation}: nothing is known of what ${unknown} names`)
  const first = /\{(\w+)\}/.exec(path)?.[1]
  return { rule, ...subjectOf(verb, first), names, project: projectIn(whole) }
}

function projectIn({ properties = {}, required = [] }: Schema): Plan['project'] {
  if (!('project_id' in properties)) return 'none'
  return required.includes('project_id') ? 'required' : 'optional'
}

function subjectOf(verb: string, parameter: string | undefined) {
  if (parameter === 'project_id') return { about: 'project', parameter } as const
  if (parameter !== undefined && parameter !== 'device_id') {
    if (!Object.hasOwn(namedBy, parameter)) throw new Error(`what does {${parameter}} name?`)
    return { about: 'thing', parameter } as const
  }
  return { about: verb === 'GET' ? 'list' : 'body', parameter: null } as const
}

export const kindOf = (name: string): Kind => namedBy[name] as Kind
