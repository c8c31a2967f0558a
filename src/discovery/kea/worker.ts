import { createPauses } from '../pauses.ts'

/** Does some work again and again, one time after the other, whenever it is asked to. */
export type Worker = {
  /** Resolves when the work was done once from its beginning, as often as that has to be tried. */
  request(): Promise<void>
  /** Why it cannot be done now. */
  fault(): string | null
  /** Nothing is done any more; requests that wait resolve. */
  stop(): Promise<void>
}

const pausesMilliseconds = { first: 250, longest: 3000 }

export function createWorker(work: () => Promise<void>, onFault: (error: unknown) => void): Worker {
  const stopping = new AbortController()
  let waiting: (() => void)[] = []
  let fault: string | null = null
  let running: Promise<void> | null = null

  async function run(): Promise<void> {
    const pauses = createPauses(pausesMilliseconds)
    while (waiting.length > 0 && !stopping.signal.aborted) {
      const served = waiting.length
      try {
        await work()
        fault = null
        pauses.reset()
        for (const resolve of waiting.splice(0, served)) resolve()
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error)
        if (message !== fault) onFault(error)
        fault = message
        await pauses.wait(stopping.signal)
      }
    }
    running = null
  }

  return {
    fault: () => fault,
    request() {
      if (stopping.signal.aborted) return Promise.resolve()
      const done = new Promise<void>(resolve => waiting.push(resolve))
      running ??= run()
      return done
    },
    async stop() {
      stopping.abort()
      await running
      for (const resolve of waiting) resolve()
      waiting = []
    },
  }
}
