import type { Logger } from 'pino'

/** What is asked of the API before a client is answered. */
export type Wish<Outcome> = {
  readonly kind: 'allocate' | 'renew'
  readonly network_id: string
  /** Who asks, on this network. */
  readonly client: string
  make(): Promise<Outcome>
  /** Answers the client, unless it asked again since: then that is answered. */
  answer(outcome: Outcome): void
}

/**
 * How many may wait, of each kind. Clients that are known never do, so that a flood of others costs
 * them nothing; and what one network asks for leaves room for the rest.
 */
export const waitingMax = 1000
export const waitingOfNetworkMax = 100

/** Within this a client waits for an answer; later it has asked anew (RFC 2131 §4.1). */
export const patienceMs = 5000

export type Wishes = {
  /** Whether it is carried out, or shares one that is under way. */
  wish<Outcome>(wish: Wish<Outcome>): boolean
  waiting(kind: Wish<unknown>['kind']): number
}

type Waiting = { answer: (outcome: never) => void; asked_at: number }

export function createWishes({ log }: { readonly log: Logger }): Wishes {
  const waiting = { allocate: new Map<string, Waiting>(), renew: new Map<string, Waiting>() }
  const ofNetwork = { allocate: new Map<string, number>(), renew: new Map<string, number>() }

  function count(kind: 'allocate' | 'renew', network_id: string, change: 1 | -1) {
    const now = (ofNetwork[kind].get(network_id) ?? 0) + change
    if (now > 0) ofNetwork[kind].set(network_id, now)
    else ofNetwork[kind].delete(network_id)
  }

  async function carryOut<Outcome>(wish: Wish<Outcome>, key: string, entry: Waiting) {
    const { kind, network_id } = wish
    try {
      const outcome = await wish.make().finally(() => {
        waiting[kind].delete(key)
        count(kind, network_id, -1)
      })
      const isLate = performance.now() - entry.asked_at > patienceMs
      if (!isLate) (entry.answer as (outcome: Outcome) => void)(outcome)
    } catch (error) {
      log.error({ err: error, network_id }, `could not ${kind} an address`)
    }
  }

  return {
    wish(wish) {
      const { kind, network_id, client, answer } = wish
      const key = `${network_id} ${client}`
      const asked_at = performance.now()
      const same = waiting[kind].get(key)
      if (same) {
        same.answer = answer
        same.asked_at = asked_at
        return true
      }
      const isFull =
        waiting[kind].size >= waitingMax ||
        (ofNetwork[kind].get(network_id) ?? 0) >= waitingOfNetworkMax
      if (isFull) return false
      const entry: Waiting = { answer, asked_at }
      waiting[kind].set(key, entry)
      count(kind, network_id, 1)
      void carryOut(wish, key, entry)
      return true
    },
    waiting: kind => waiting[kind].size,
  }
}
