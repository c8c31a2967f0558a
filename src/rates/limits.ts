import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Authenticate, callerOf, tokenOf } from '../auth/authenticate.ts'
import { ownerOf } from '../auth/authority.ts'
import type { Caller } from '../auth/caller.ts'
import { IpamError } from '../errors.ts'
import { type Buckets, createBuckets } from './buckets.ts'

export type RateSettings = {
  readonly project_per_second: number | null
  readonly project_burst: number
  readonly user_per_second: number | null
  readonly user_burst: number
  readonly address_per_second: number | null
  readonly address_burst: number
  readonly failed_authentications_per_second: number | null
  readonly failed_authentications_burst: number
  readonly remembered_max: number
}

/** What there was too much of. */
export type RateName = 'project' | 'user' | 'address' | 'failed_authentications'

export type LimitOptions = {
  readonly settings: RateSettings
  readonly onRefused: (name: RateName) => void
  /** Whose address a request counts for. */
  readonly networkOf: (request: FastifyRequest) => string
  readonly now?: () => number
}

export type Limits = {
  /** Counts a request for its address. @throws {IpamError} `too_many_requests` */
  readonly countAddress: (request: FastifyRequest, reply: FastifyReply) => void
  /**
   * Counts tokens that are not valid for the address, and the others for the project, or the user who is
   * of the cloud. While the address has to wait, only tokens are looked at that were valid lately: who
   * guesses beside others does not keep them out.
   */
  readonly around: (
    authenticate: Authenticate,
    isRemembered: (request: FastifyRequest) => boolean,
  ) => Authenticate
}

/** What may be asked of this process in a second. A request is one, whatever it holds. */
export function createLimits(options: LimitOptions): Limits {
  const { settings, onRefused, networkOf, now = () => performance.now() } = options
  const make = (name: RateName) => {
    const per_second = settings[`${name}_per_second`]
    const burst = settings[`${name}_burst`]
    const { remembered_max } = settings
    const buckets = createBuckets({ per_second, burst, remembered_max, now })
    return buckets && { name, buckets, burst, policy: policyOf({ name, per_second, burst }) }
  }
  const limits = {
    project: make('project'),
    user: make('user'),
    address: make('address'),
    failed_authentications: make('failed_authentications'),
  }

  function refuse({ name, buckets }: Limit, reply: FastifyReply, lacking: number): never {
    onRefused(name)
    const seconds = buckets.secondsFor(-lacking)
    reply.header('retry-after', String(seconds))
    throw new IpamError('too_many_requests', `${reasons[name]} Try again in ${seconds} s.`)
  }

  function countCaller(caller: Caller, reply: FastifyReply): void {
    const project = projectOf(caller)
    const limit = project === null ? limits.user : limits.project
    if (!limit) return
    const left = limit.buckets.take(project ?? ownerOf(caller))
    showLevel(limit, reply, left)
    if (left < 0) refuse(limit, reply, left)
  }

  return {
    countAddress(request, reply) {
      const limit = limits.address
      if (!limit) return
      const left = limit.buckets.take(networkOf(request))
      if (left >= 0) return
      showLevel(limit, reply, left)
      refuse(limit, reply, left)
    },
    around: (authenticate, isRemembered) => async (request, reply) => {
      const limit = limits.failed_authentications
      if (limit && tokenOf(request) !== undefined) {
        const network = networkOf(request)
        const left = limit.buckets.look(network)
        if (left < 0 && !isRemembered(request)) {
          showLevel(limit, reply, left)
          refuse(limit, reply, left)
        }
        try {
          await authenticate(request, reply)
        } catch (error) {
          const isNotValid = error instanceof IpamError && error.code === 'authentication_required'
          if (isNotValid) limit.buckets.charge(network)
          throw error
        }
      } else await authenticate(request, reply)
      countCaller(callerOf(request), reply)
    },
  }
}

/** For which project a request counts; null for a user of the cloud, who asks for many. */
function projectOf({ project_id, roles }: Caller): string | null {
  return roles.includes('admin') || roles.includes('service') ? null : project_id
}

type Limit = {
  readonly name: RateName
  readonly buckets: Buckets
  readonly burst: number
  /** What `RateLimit-Policy` says. */
  readonly policy: string
}

const reasons: Readonly<Record<RateName, string>> = {
  project: 'The project asks too often.',
  user: 'The user asks too often.',
  address: 'Too many requests come from this address.',
  failed_authentications: 'Too many tokens that are not valid come from this address.',
}

/** The quota and its window in seconds (draft-ietf-httpapi-ratelimit-headers-10, section 3). */
function policyOf({ name, per_second, burst }: PolicyOptions): string {
  return `"${name}";q=${burst};w=${Math.max(1, Math.ceil(burst / (per_second ?? 1)))}`
}

type PolicyOptions = {
  readonly name: RateName
  readonly per_second: number | null
  readonly burst: number
}

/** What is left, and when all of it is there again (the same draft, section 4). */
function showLevel({ name, buckets, burst, policy }: Limit, reply: FastifyReply, left: number) {
  const isThere = left >= 0
  const level = isThere ? left : left + 1
  reply.header('ratelimit-policy', policy)
  reply.header(
    'ratelimit',
    `"${name}";r=${isThere ? Math.floor(left) : 0};t=${buckets.secondsFor(burst - level)}`,
  )
}
