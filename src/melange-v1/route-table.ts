import type { Database } from '../db/database.ts'
import { pathPattern } from '../path-pattern.ts'
import { Fault } from './fault.ts'
import type { Version } from './negotiate.ts'
import type { Settings } from './settings.ts'
import type { Reach } from './tenancy.ts'
import type { Data, Fields } from './values.ts'
import type { Link } from './xml-write.ts'

/** A request that has found its route. */
export type Call = {
  /** For writes a transaction, which is rolled back if the handler throws. */
  readonly db: Database
  readonly settings: Settings
  /** For what is of another tenant than the path says: the path itself has been looked at. */
  readonly reach: Reach
  /** What stands in the path for each `:name` of the route. */
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  /** The members of the body; none if there was no body. */
  readonly body: Fields
  /** The whole address of the request, for links. */
  readonly url: string
}

/** An answer: nothing, or one member `root` with what is in it. */
export type Answer = {
  readonly status: number
  readonly root?: string
  readonly data?: Data
  readonly links?: readonly Link[]
  /** A refusal that is kept: what was done before it is not rolled back. */
  readonly fault?: Fault
}

export type Handler = (call: Call) => Promise<Answer>
type Method = 'GET' | 'POST' | 'PUT' | 'DELETE'

/**
 * What a path may have behind it: `.json` or `.xml`; on resources whatever follows a dot, which is
 * then cut off; or nothing.
 */
type Suffix = 'format' | 'any' | 'none'

export type Route = {
  readonly method: Method
  readonly path: string
  readonly suffix: Suffix
  /** Null: the path is known, and the original has nothing behind it. */
  readonly handler: Handler | null
  readonly versions: readonly Version[]
}

type Actions = {
  readonly index?: Handler
  readonly create?: Handler
  readonly show?: Handler
  readonly update?: Handler
  readonly remove?: Handler
}

const both: readonly Version[] = ['0.1', '1.0']

/** The routes that the original makes for a resource, with an action behind them or without. */
export function resource(path: string, actions: Actions, versions = both): Route[] {
  const one = (method: Method, tail: string, handler: Handler | undefined): Route => {
    return { method, path: path + tail, suffix: 'any', handler: handler ?? null, versions }
  }
  return [
    one('GET', '', actions.index),
    one('POST', '', actions.create),
    one('GET', '/new', undefined),
    one('GET', '/:id', actions.show),
    one('PUT', '/:id', actions.update),
    one('DELETE', '/:id', actions.remove),
    one('GET', '/:id/edit', undefined),
  ]
}

/** One route beside the resources. */
export function route(
  method: Method,
  path: string,
  handler: Handler,
  { versions = both, suffix = 'format' as Suffix } = {},
): Route {
  return { method, path, suffix, handler, versions }
}

/** A route that was found, and what stands for its names. */
export type Match = {
  /** The path of the route, with `{name}` for what differs. */
  readonly path: string
  readonly handler: Handler
  readonly params: Readonly<Record<string, string>>
}

type Compiled = { readonly pattern: RegExp; readonly route: Route }

/** A function that finds the route of a request; of several the first counts. */
export function createRouter(routes: readonly Route[]) {
  const compiled = routes.map((route): Compiled => ({ pattern: patternOf(route), route }))
  /**
   * Null if there is no such path.
   *
   * @throws {Fault} 404 where the path is known, and there is nothing behind it
   */
  return (version: Version, method: string, path: string): Match | null => {
    for (const { pattern, route } of compiled) {
      if (route.method !== method || !route.versions.includes(version)) continue
      const found = pattern.exec(path)
      const params: Record<string, string> = { ...found?.groups }
      if (!found || !Object.values(params).every(isName)) continue
      if (!route.handler) throw new Fault(404, null)
      return { path: pathPattern(route.path), handler: route.handler, params }
    }
    return null
  }
}

const endings: Record<Suffix, string> = {
  format: '(\\.(json|xml)?)?',
  any: '(\\.[^/.]+)?',
  none: '',
}

function patternOf({ path, suffix }: Route): RegExp {
  const names = path.replaceAll('.', '\\.').replaceAll(/:(\w+)/g, '(?<$1>[^/]+?)')
  return new RegExp(`^${names}${endings[suffix]}$`)
}

const nameMax = 255

/** Nothing else has a name; PostgreSQL has no text with a NUL in it. */
const isName = (text: string): boolean => !text.includes('\0') && text.length <= nameMax
