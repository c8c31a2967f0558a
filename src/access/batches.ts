import type { FastifyRequest } from 'fastify'
import type { Database } from '../db/database.ts'
import { IpamError } from '../errors.ts'
import { keyOf } from '../idempotency.ts'
import type { RuleName } from '../policy/defaults.ts'
import { targetOf } from './access.ts'
import { accessTo } from './enforce.ts'
import { asRefusal, type OwnerCache } from './owner-cache.ts'
import { waysToTake, withSource } from './sources.ts'
import { findOwners, isKeyKnown } from './target-store.ts'
import { type Named, notFound } from './things.ts'

// Requests for many things at once, each of which may be refused by itself.

type Request = Pick<FastifyRequest, 'getDecorator'>

/** What is to be taken of a block or network, and for whom. */
export type Taking = {
  readonly block_id?: string | undefined
  readonly network_id?: string | undefined
  readonly project_id: string
}

/** How addresses may be taken, as a request of the allocator says it. */
export type Leave = { readonly needs_grant: boolean }

/** Why each of some requests may not take addresses from where it wants to, or how it may. */
export async function leavesToTake(
  { db, request, cache }: { db: Database; request: Request; cache: OwnerCache },
  takings: readonly Taking[],
): Promise<(IpamError | Leave)[]> {
  const access = accessTo(request)
  const rule = 'allocations:create'
  if (access.mayAlways(rule) === true) return takings.map(() => ({ needs_grant: false }))
  const sources = takings.map(
    ({ block_id, network_id }): Named =>
      block_id === undefined
        ? { kind: 'network', id: network_id ?? '', field: 'network_id' }
        : { kind: 'block', id: block_id, field: 'block_id' },
  )
  const owners = await cache.findOwners(sources)
  const key = keyOf(request)
  const isMissing = sources.some(one => !owners(one))
  // What was done under a key is answered again, even if the block is gone meanwhile.
  const isRepeated = isMissing && key !== null && (await isKeyKnown(db, key))
  const found = sources.flatMap((source, index) => {
    const owner = owners(source)
    const project_id = takings[index]?.project_id ?? null
    return owner
      ? [{ rule, source, owner, target: { ...targetOf(owner), project_id }, index } as const]
      : []
  })
  const ways = await waysToTake(db, access, found, key)
  const refused = found.filter((_, n) => ways[n] === 'refused')
  const seen = await findOwners(
    db,
    refused.map(({ source }) => source),
    access.caller.project_id,
  )
  const outcomes = sources.map((source): IpamError | Leave =>
    isRepeated ? { needs_grant: false } : notFound(source),
  )
  for (const [n, { source, owner, target, index }] of found.entries()) {
    const way = ways[n]
    if (way === 'free' || way === 'granted') outcomes[index] = { needs_grant: way === 'granted' }
    else if (access.sees(source.kind, seen(source) ?? owner)) {
      const refusal = asRefusal(() => access.demand(rule, withSource(target, owner.project_id)))
      outcomes[index] = refusal ?? { needs_grant: false }
    } else {
      access.noteHidden(rule, source)
      outcomes[index] = notFound(source)
    }
  }
  return outcomes
}

/**
 * Keeps a release of allocations to those that it may end: each with the project that it has to be of, or
 * none. What may not be seen gets a project that there is not, and so is answered as if it were not there.
 *
 * @throws {IpamError} `forbidden` of one that may be seen
 */
export async function boundEach<T extends { readonly id: string }>(
  { db, request, rule }: { db: Database; request: Request; rule: RuleName },
  wanted: readonly T[],
): Promise<(T & { readonly project_id?: string })[]> {
  const access = accessTo(request)
  if (access.mayAlways(rule) === true) return [...wanted]
  const named = wanted.map(({ id }): Named => ({ kind: 'allocation', id, field: 'allocations' }))
  const owners = await findOwners(db, named)
  return wanted.map((one, index) => {
    const owner = owners(named[index] as Named)
    if (!owner) return one
    if (access.may(rule, targetOf(owner))) return one
    if (!access.sees('allocation', owner)) {
      access.noteHidden(rule, named[index] as Named)
      return { ...one, project_id: noProject }
    }
    access.demandOn(rule, named[index] as Named, owner)
    return one
  })
}

/** What no project is called. */
const noProject = ''

/**
 * Releases an allocation without a look at whose it is, where it may be of the caller's project: the
 * release itself looks. Only if it finds none the owner is looked up.
 *
 * @throws {IpamError} `forbidden`, `allocation_not_found`, and what the release ends in
 */
export async function releaseBounded<T>(
  { db, request, id }: { db: Database; request: Request; id: string },
  release: (bounded: {
    readonly id: string
    readonly project_id?: string | undefined
  }) => Promise<T>,
): Promise<T> {
  const access = accessTo(request)
  const rule = 'allocations:release'
  const { project_id } = access.caller
  if (access.mayAlways(rule) === true) return release({ id })
  if (project_id !== null && access.may(rule, { project_id })) {
    try {
      return await release({ id, project_id })
    } catch (error) {
      if (!(error instanceof IpamError) || error.code !== 'allocation_not_found') throw error
    }
  }
  const thing: Named = { kind: 'allocation', id, field: 'allocation_id' }
  access.demandOn(rule, thing, (await findOwners(db, [thing]))(thing))
  return release({ id })
}

/** Whether all of a block may be changed. @throws {IpamError} `forbidden`, `block_not_found` */
export async function demandOnBlock(
  { db, request, rule }: { db: Database; request: Request; rule: RuleName },
  id: string,
): Promise<void> {
  const access = accessTo(request)
  if (access.mayAlways(rule) === true) return
  const thing: Named = { kind: 'block', id, field: 'block_id' }
  const owner = (await findOwners(db, [thing], access.caller.project_id))(thing)
  const key = keyOf(request)
  if (!owner && key && (await isKeyKnown(db, key))) return
  access.demandOn(rule, thing, owner)
}

/** The id of an allocation, if the caller may see it, else null. */
export async function idIfSeen(
  { db, request }: { db: Database; request: Request },
  id: string | null,
): Promise<string | null> {
  const access = accessTo(request)
  if (id === null || access.mayAlways('allocations:get') === true) return id
  const thing: Named = { kind: 'allocation', id, field: 'allocation_id' }
  const owner = (await findOwners(db, [thing], access.caller.project_id))(thing)
  return owner && access.sees('allocation', owner) ? id : null
}
