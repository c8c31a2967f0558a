import type { Database } from '../../db/database.ts'
import { newestEvent } from './store.ts'

/** Lets any number of readers wait for events at the cost of one. */
export type EventWatch = {
  /** True when there may be an event behind the cursor; false when time is up or nobody waits. */
  waitBeyond(
    cursor: number,
    options: { milliseconds: number; signal: AbortSignal },
  ): Promise<boolean>
  /** Ends all waiting, for instance at shutdown. */
  close(): void
}

/**
 * How long an event may wait to be seen. Readers such as servers for machines are to act within 100 ms; the
 * question takes 0.1 ms, half a percent of a processor for as long as anybody waits.
 */
const pollMilliseconds = 20

/** Asks the database for the newest event, and only while somebody waits. */
export function watchEvents(db: Database): EventWatch {
  const waiting = new Set<{ cursor: number; wake: (isWorthALook: boolean) => void }>()
  let timer: NodeJS.Timeout | undefined
  let closed = false

  const poll = async () => {
    const newest = await newestEvent(db).catch(() => 0)
    for (const { cursor, wake } of waiting) if (newest > cursor) wake(true)
    timer = waiting.size > 0 ? setTimeout(poll, pollMilliseconds) : undefined
  }

  return {
    waitBeyond(cursor, { milliseconds, signal }) {
      if (closed || signal.aborted) return Promise.resolve(false)
      return new Promise(resolve => {
        const wake = (isWorthALook: boolean) => {
          waiting.delete(waiter)
          clearTimeout(deadline)
          signal.removeEventListener('abort', giveUp)
          resolve(isWorthALook)
        }
        const giveUp = () => wake(false)
        const waiter = { cursor, wake }
        const deadline = setTimeout(giveUp, milliseconds)
        signal.addEventListener('abort', giveUp)
        waiting.add(waiter)
        timer ??= setTimeout(poll, pollMilliseconds)
      })
    },
    close() {
      closed = true
      clearTimeout(timer)
      for (const { wake } of waiting) wake(false)
    },
  }
}
