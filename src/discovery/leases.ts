import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { LeaseReport } from '../dhcp/served.ts'
import { newId } from '../ids.ts'
import { type Api, ApiFailure } from './api.ts'
import type { LeaseNews, Leases } from './driver.ts'
import type { Journal } from './journal.ts'

/** What is told, kept on the disk until the API has it. */
export type LeaseLog = Leases & {
  /** Reports to the API until the signal. */
  report(signal: AbortSignal): Promise<void>
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

/** A line of the journal: a lease as it is now, or up to where the API has been told. */
type Line = { readonly lease: LeaseReport; readonly seq: number } | { readonly reported: number }

const batchMax = 1000
const gatherMilliseconds = 200
const pauses = { first: 250, longest: 10_000 }
/** How long a lease that ended is remembered, in which its machine may come again. */
const rememberMilliseconds = 60_000

/**
 * A lease begins when a machine is told an address, and goes on as long as it is told the same again
 * before it ends. Of each only the last state is kept, so what waits for an API that is away is bounded
 * by the machines that there are.
 */
export function createLeases({ journal, api, server, log }: LeaseOptions): LeaseLog {
  /** By who has it; what is told next goes on from it. */
  const live = new Map<string, LeaseReport>()
  /** By id, in the order in which they changed. */
  const pending = new Map<string, { readonly lease: LeaseReport; readonly seq: number }>()
  const counts = { recorded: 0, reported: 0, refused: 0 }
  let seq = 0
  let fault: string | null = null
  let refusal: string | null = null
  let wake = () => {}

  function put(lease: LeaseReport, at: number) {
    if (lease.state === 'bound') live.set(keyOf(lease), lease)
    else live.delete(keyOf(lease))
    if (at === 0) return
    pending.delete(lease.id)
    pending.set(lease.id, { lease, seq: at })
  }

  for (const line of journal.lines as Line[]) {
    if ('reported' in line) forgetThrough(line.reported)
    else put(line.lease, line.seq)
    if ('seq' in line) seq = Math.max(seq, line.seq)
  }

  function forgetThrough(reported: number) {
    for (const [id, one] of pending) {
      if (one.seq > reported) break
      pending.delete(id)
    }
  }

  function* lines(): Generator<Line> {
    for (const lease of live.values()) if (!pending.has(lease.id)) yield { lease, seq: 0 }
    yield* pending.values()
  }

  async function shorten() {
    const now = Date.now()
    for (const [key, { ends_at }] of live) {
      if (ends_at !== null && Date.parse(ends_at) + rememberMilliseconds < now) live.delete(key)
    }
    await journal.rewrite(lines())
  }

  async function send() {
    const batch = [...pending.values()].slice(0, batchMax)
    const refused = await api.report(
      server,
      batch.map(({ lease }) => lease),
    )
    const through = batch.at(-1)?.seq ?? 0
    forgetThrough(through)
    counts.reported += batch.length - refused.length
    counts.refused += refused.length
    for (const one of refused) log.warn(one, 'the API does not take a lease')
    await journal.append({ reported: through })
    if (journal.isLong()) await shorten()
  }

  return {
    counts,
    pending: () => pending.size,
    problems: () => [fault, refusal].filter(one => one !== null),

    async record(news) {
      const lease = leaseOf(news, live.get(keyOf(news)))
      seq += 1
      put(lease, seq)
      counts.recorded += 1
      wake()
      try {
        await journal.append({ lease, seq })
        fault = null
      } catch (error) {
        // Addresses are the API's to know: machines get theirs all the same.
        if (fault === null) log.error({ err: error }, 'leases are not written to the disk')
        fault = `leases are not written to the disk: ${(error as Error).message}`
      }
    },

    async report(signal) {
      let pause = pauses.first
      signal.addEventListener('abort', () => wake(), { once: true })
      while (!signal.aborted) {
        if (pending.size === 0) {
          await new Promise<void>(resolve => {
            wake = resolve
          })
        }
        if (pending.size < batchMax) await sleepUntil(gatherMilliseconds, signal)
        if (pending.size === 0 || signal.aborted) continue
        try {
          await send()
          refusal = null
          pause = pauses.first
        } catch (error) {
          if (!(error instanceof ApiFailure)) throw error
          // Nothing is dropped for it: an operator can mend what the API refuses, such as the token.
          if (!error.isPassing) refusal = `leases are not taken: ${error.message}`
          await sleepUntil(pause, signal)
          pause = Math.min(2 * pause, pauses.longest)
        }
      }
    },
  }
}

const keyOf = ({ allocation_id, duid, iaid, mac_address, client_id }: KeyParts) =>
  `${allocation_id} ${duid === null ? (mac_address ?? client_id) : `${duid}/${iaid}`}`
type KeyParts = Pick<LeaseReport, 'allocation_id' | 'duid' | 'iaid' | 'mac_address' | 'client_id'>

/** What was told, going on from the lease before if it is the same and has not ended. */
function leaseOf(
  { at, ends_at, ...news }: LeaseNews,
  before: LeaseReport | undefined,
): LeaseReport {
  const goesOn =
    before !== undefined &&
    before.address === news.address &&
    (before.ends_at === null || Date.parse(before.ends_at) >= at) &&
    (news.state !== 'bound' || (before.host_name === news.host_name && isSame(before, news)))
  const told_at = new Date(at).toISOString()
  return {
    ...news,
    id: goesOn ? before.id : newId(),
    started_at: goesOn ? before.started_at : told_at,
    told_at,
    ends_at: ends_at === null ? null : new Date(ends_at).toISOString(),
  }
}

const isSame = (
  { relay: a }: Pick<LeaseReport, 'relay'>,
  { relay: b }: Pick<LeaseReport, 'relay'>,
) => a?.address === b?.address && a?.circuit_id === b?.circuit_id && a?.remote_id === b?.remote_id

const sleepUntil = (milliseconds: number, signal: AbortSignal) =>
  sleep(milliseconds, undefined, { signal }).catch(() => {})
