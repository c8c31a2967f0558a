export type GateOptions = {
  readonly under_way_max: number
  /** How many may wait, in each of the two queues. */
  readonly waiting_max: number
  /** Who has waited for longer is refused. */
  readonly wait_seconds: number
  readonly now: () => number
}

export type Gate = {
  /**
   * Runs a task when there is room. Those that are `preferred` go first, and wait apart, so that a
   * crowd of others never keeps them out.
   *
   * @throws {GateFull} if too many wait, or for too long.
   */
  run<T>(task: () => Promise<T>, preferred: boolean): Promise<T>
  readonly underWay: () => number
  readonly waiting: () => number
}

/** Too many wait. */
export class GateFull extends Error {
  override readonly name = 'GateFull'
}

type Waiting = { readonly since: number; readonly go: (error?: GateFull) => void }

/** A bound on what is under way at a time, with a bounded queue before it. */
export function createGate({ under_way_max, waiting_max, wait_seconds, now }: GateOptions): Gate {
  let underWay = 0
  const preferredQueue: Waiting[] = []
  const otherQueue: Waiting[] = []

  const enter = (queue: Waiting[]) =>
    new Promise<void>((resolve, reject) => {
      if (queue.length >= waiting_max) return reject(new GateFull('Too many tokens wait'))
      queue.push({ since: now(), go: error => (error ? reject(error) : resolve()) })
    })

  /** The place passes on to the next that has not waited for too long. */
  function leave(): void {
    let next = take()
    while (next && now() - next.since > wait_seconds * 1000) {
      next.go(new GateFull(`The token waited for more than ${wait_seconds} s`))
      next = take()
    }
    if (next) next.go()
    else underWay--
  }
  const take = () => preferredQueue.shift() ?? otherQueue.shift()

  return {
    async run(task, preferred) {
      if (underWay < under_way_max) underWay++
      else await enter(preferred ? preferredQueue : otherQueue)
      try {
        return await task()
      } finally {
        leave()
      }
    },
    underWay: () => underWay,
    waiting: () => preferredQueue.length + otherQueue.length,
  }
}
