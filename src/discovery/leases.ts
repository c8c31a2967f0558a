import type { Logger } from 'pino'
import type { LeaseReport } from '../dhcp/served.ts'
import { newId } from '../ids.ts'
import { type Api, ApiFailure } from './api.ts'
import { clientIdOf, type LeaseNews, type Leases } from './driver.ts'
import type { Journal } from './journal.ts'
import { createPauses, sleepUntil } from './pauses.ts'

/** What is told, kept on the disk until the API has it. */
export type LeaseLog = Leases & {
  /** Reports to the API until the signal. */
  report(signal: AbortSignal): Promise<void>
  /**
   * Whether the API knows that this client gave back what it had; waits a while for that. What it is
   * given again before that would end with the report.
   */
  isSettled(client_id: string): Promise<boolean>
  /** How many leases the API does not know, or not as they are now. */
  pending(): number
  /** What is wrong, for the health of the process. */
  problems(): readonly string[]
  /** What was counted so far. */
  readonly counts: { recorded: number; reported: number; refused: number }
}

export type LeaseOptions = {
  readonly journal: Journal
  readonly api: Pick<Api, 'report'>
  /** As what this server reports. */
  readonly server: string
  readonly log: Logger
}

/** What a machine is told, from the first time until the last. Times are in milliseconds since 1970. */
type Lease = {
  readonly id: string
  readonly started_at: number
  news: LeaseNews
  /** Grows with each change of any lease; 0 of one that the API knows as it is. */
  seq: number
}

/**
 * A line of the journal: a lease as it is now, one of those above that is told again, or what the API
 * has been told.
 */
type Line =
  | { readonly lease: Lease }
  | {
      readonly again: string
      readonly at: number
      readonly ends_at: number | null
      readonly seq: number
    }
  | { readonly reported: readonly (readonly [id: string, seq: number])[] }

/** So many are less than the MiB that a request may have, as long as they are. */
const batchMax = 500
const gatherMilliseconds = 200
/** How long the API does not know that a lease goes on. */
const renewalMilliseconds = 10_000
const settleMilliseconds = 2000
const pausesMilliseconds = { first: 250, longest: 10_000 }
/** How long a lease that ended is remembered, in which its machine may come again. */
const rememberMilliseconds = 60_000

/**
 * A lease begins when a machine is told an address, and goes on as long as it is told the same again
 * before it ends. Of each only the last state is kept, so what waits for an API that is away is bounded
 * by the machines that there are.
 */
export function createLeases({ journal, api, server, log }: LeaseOptions): LeaseLog {
  /** By who has it; what is told next goes on from it. */
  const live = new Map<string, Lease>()
  /** What the API is to be told now, by id. */
  const pending = new Map<string, Lease>()
  /** What only goes on, and can wait for others, since `renewedAt`. */
  const renewed = new Map<string, Lease>()
  let renewedAt = 0
  const counts = { recorded: 0, reported: 0, refused: 0 }
  let seq = 0
  let fault: string | null = null
  let refusal: string | null = null
  let isShortening = false
  let limit = batchMax
  let wake = () => {}
  /** What clients gave back, and the API does not know yet: the numbers by who that was. */
  const releases = new Map<string, number>()
  const waiting = new Set<() => void>()

  function put(lease: Lease, key = keyOf(lease.news)) {
    if (lease.news.state === 'bound') live.set(key, lease)
    else live.delete(key)
    if (lease.seq === 0) return
    renewed.delete(lease.id)
    pending.delete(lease.id)
    pending.set(lease.id, lease)
    const client = lease.news.state === 'released' ? clientIdOf(lease.news) : null
    if (client !== null) releases.set(client, lease.seq)
  }

  function putRenewed(lease: Lease) {
    if (pending.has(lease.id)) return
    if (renewed.size === 0) renewedAt = Date.now()
    renewed.set(lease.id, lease)
  }

  function forget(reported: readonly (readonly [id: string, seq: number])[]) {
    for (const [id, through] of reported) {
      const lease = pending.get(id)
      if (!lease || lease.seq > through) continue
      pending.delete(id)
      const client = lease.news.state === 'released' ? clientIdOf(lease.news) : null
      if (client !== null && releases.get(client) === lease.seq) releases.delete(client)
    }
    for (const look of waiting) look()
  }

  /** Until there is something to report; what goes on is so when it has waited long enough. */
  async function nextWork(signal: AbortSignal) {
    while (pending.size === 0 && !signal.aborted) {
      const left = renewedAt + renewalMilliseconds - Date.now()
      if (renewed.size > 0 && left <= 0) {
        for (const [id, lease] of renewed) pending.set(id, lease)
        renewed.clear()
        return
      }
      await new Promise<void>(resolve => {
        const timer = renewed.size > 0 ? setTimeout(resolve, left) : undefined
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  function read(lines: readonly Line[]) {
    const byId = new Map<string, Lease>()
    for (const line of lines) {
      if ('reported' in line) {
        forget(line.reported)
        continue
      }
      let lease: Lease | undefined
      if ('lease' in line) lease = line.lease
      else {
        const before = byId.get(line.again)
        lease = before && toldAgain(before, line)
      }
      if (!lease) continue // Its beginning was reported, and is not remembered.
      byId.set(lease.id, lease)
      put(lease)
      seq = Math.max(seq, lease.seq)
    }
  }
  read(journal.lines as Line[])

  /** All that is known at the time of the first line. */
  function* lines(): Generator<Line> {
    const unknown = new Set([...pending.values(), ...renewed.values()])
    const known = [...live.values()].filter(lease => !unknown.has(lease))
    for (const lease of known) yield { lease: { ...lease, seq: 0 } }
    for (const lease of unknown) yield { lease }
  }

  async function shorten() {
    if (isShortening) return
    isShortening = true
    const now = Date.now()
    for (const [key, { news }] of live) {
      if (news.ends_at !== null && news.ends_at + rememberMilliseconds < now) live.delete(key)
    }
    try {
      await journal.rewrite(lines())
    } catch (error) {
      noteFault(error)
    } finally {
      isShortening = false
    }
  }

  /** Addresses are the API's to know: machines get theirs all the same. */
  function noteFault(error: unknown) {
    if (fault === null) log.error({ err: error }, 'leases are not written to the disk')
    fault = `leases are not written to the disk: ${(error as Error).message}`
  }

  /** Reports the oldest of what waits. */
  async function send() {
    const batch = [...pending.values()].slice(0, limit)
    const refused = await api.report(server, batch.map(reportOf)).catch(error => {
      const isMalformed = error instanceof ApiFailure && [400, 413].includes(error.status ?? 0)
      if (!isMalformed) throw error
      // One that the API cannot even read must not be in the way of the others.
      if (batch.length > 1) return null
      return batch.map(({ id }) => ({ id, reason: error.message }))
    })
    if (refused === null) {
      limit = Math.ceil(batch.length / 2)
      return
    }
    limit = Math.min(batchMax, 2 * limit)
    const reported = batch.map(({ id, seq }) => [id, seq] as const)
    forget(reported)
    counts.reported += batch.length - refused.length
    counts.refused += refused.length
    for (const one of refused) log.warn(one, 'the API does not take a lease')
    await journal.append({ reported }).catch(noteFault)
  }

  return {
    counts,
    pending: () => pending.size + renewed.size,
    problems: () => [fault, refusal].filter(one => one !== null),

    async record(news) {
      const key = keyOf(news)
      const before = live.get(key)
      seq += 1
      counts.recorded += 1
      let line: Line
      if (before && news.state === 'bound' && continues(before.news, news)) {
        before.news = news
        before.seq = seq
        putRenewed(before)
        if (renewed.size === 1) wake()
        line = { again: before.id, at: news.at, ends_at: news.ends_at, seq }
      } else {
        const goesOn = before !== undefined && continues(before.news, news)
        const id = goesOn ? before.id : newId()
        const lease = { id, started_at: goesOn ? before.started_at : news.at, news, seq }
        put(lease, key)
        wake()
        line = { lease }
      }
      try {
        await journal.append(line)
        fault = null
      } catch (error) {
        noteFault(error)
      }
      if (journal.isLong()) void shorten()
    },

    isSettled(client) {
      if (!releases.has(client)) return Promise.resolve(true)
      return new Promise(resolve => {
        const end = () => {
          clearTimeout(timer)
          waiting.delete(look)
          resolve(!releases.has(client))
        }
        const look = () => {
          if (!releases.has(client)) end()
        }
        const timer = setTimeout(end, settleMilliseconds)
        waiting.add(look)
      })
    },

    async report(signal) {
      const pauses = createPauses(pausesMilliseconds)
      signal.addEventListener('abort', () => wake(), { once: true })
      while (!signal.aborted) {
        await nextWork(signal)
        if (pending.size < batchMax) await sleepUntil(gatherMilliseconds, signal)
        if (pending.size === 0 || signal.aborted) continue
        try {
          await send()
          refusal = null
          pauses.reset()
        } catch (error) {
          if (!(error instanceof ApiFailure)) throw error
          // Nothing is dropped for it: an operator can mend what the API refuses, such as the token.
          if (!error.isPassing) refusal = `leases are not taken: ${error.message}`
          await pauses.wait(signal)
        }
      }
    },
  }
}

const keyOf = ({ allocation_id, duid, iaid, mac_address, client_id }: LeaseNews) =>
  `${allocation_id} ${duid === null ? (mac_address ?? client_id) : `${duid}/${iaid}`}`

const toldAgain = (
  { news, ...lease }: Lease,
  {
    at,
    ends_at,
    seq,
  }: { readonly at: number; readonly ends_at: number | null; readonly seq: number },
): Lease => ({ ...lease, seq, news: { ...news, at, ends_at } })

/** Whether news go on with the lease before: the same is told, without a gap. */
const continues = (before: LeaseNews, news: LeaseNews): boolean =>
  before.address === news.address &&
  (before.ends_at === null || before.ends_at >= news.at) &&
  (news.state !== 'bound' ||
    (before.host_name === news.host_name &&
      before.relay?.address === news.relay?.address &&
      before.relay?.circuit_id === news.relay?.circuit_id &&
      before.relay?.remote_id === news.relay?.remote_id))

function reportOf({ id, started_at, news }: Lease): LeaseReport {
  const { at, ends_at, ...facts } = news
  return {
    id,
    ...facts,
    started_at: new Date(started_at).toISOString(),
    told_at: new Date(at).toISOString(),
    ends_at: ends_at === null ? null : new Date(ends_at).toISOString(),
  }
}
