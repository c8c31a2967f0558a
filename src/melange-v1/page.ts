import { Fault } from './fault.ts'
import type { Answer, Call } from './route-table.ts'
import type { Data } from './values.ts'

/** The most entries that one page may have. */
const limitMax = 10_000

/** Which part of a list is asked for: so many entries behind an id, which need not exist. */
export type Page = { readonly limit: number; readonly marker: string | null }

/** @throws {Fault} 400 where the limit is no positive number */
export function pageOf({ query, settings }: Pick<Call, 'query' | 'settings'>): Page {
  const text = query.get('limit')
  const marker = query.get('marker') || null
  if (text === null) return { limit: settings.page_size, marker }
  const limit = /^\s*\+?\d{1,15}\s*$/.test(text) ? Number(text) : 0
  if (limit === 0) throw new Fault(400, 'limit should be a positive integer')
  return { limit: Math.min(limit, limitMax), marker }
}

type Entry = { readonly id: string }

/**
 * A page of a list, with a link to the next one if there is more.
 *
 * @param found one entry more than the page holds, if there is one
 */
export function pageAnswer<E extends Entry>(
  call: Pick<Call, 'url'>,
  root: string,
  { found, limit, show }: { found: readonly E[]; limit: number; show: (entry: E) => Data },
): Answer {
  const entries = found.slice(0, limit)
  const last = entries.at(-1)
  const data = entries.map(show)
  if (!last || found.length <= limit) return { status: 200, root, data }
  const next = new URL(call.url)
  // The last of several parameters of one name counts, as in the original.
  const query = new URLSearchParams(Object.fromEntries(next.searchParams))
  query.set('marker', last.id)
  next.search = query.toString()
  return { status: 200, root, data, links: [{ rel: 'next', href: next.href }] }
}
