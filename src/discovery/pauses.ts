import { setTimeout as sleep } from 'node:timers/promises'

/** Pauses between attempts, in milliseconds: each is twice as long as the one before, up to the longest. */
export type Pauses = {
  /** How long this one is. */
  next(): number
  /** Waits for this one, or until the signal. */
  wait(signal: AbortSignal): Promise<void>
  /** Something has succeeded: the next one is the first again. */
  reset(): void
}

export function createPauses({ first, longest }: { first: number; longest: number }): Pauses {
  let pause = first
  const next = () => {
    const now = pause
    pause = Math.min(2 * pause, longest)
    return now
  }
  return {
    next,
    wait: signal => sleepUntil(next(), signal),
    reset() {
      pause = first
    },
  }
}

/** Resolves after so many milliseconds, or at the signal. */
export const sleepUntil = (milliseconds: number, signal: AbortSignal): Promise<void> =>
  sleep(milliseconds, undefined, { signal }).catch(() => {})
