import { IpamError } from './errors.ts'

/** What one batch may hold, and how many may wait. */
export type CoalescerOptions<Request, Outcome> = {
  /** Runs a batch in one transaction; one outcome for each request, in their order. */
  readonly run: (batch: readonly Request[]) => Promise<readonly Outcome[]>
  /** How much of a batch a request fills. */
  readonly weigh: (request: Request) => number
  /** Requests that share a lane share batches; lanes run side by side. */
  readonly lane: (request: Request) => string
  readonly lanes: number
  readonly batch_weight_max: number
  readonly waiting_max: number
  readonly observer?: CoalescerObserver
}

/** Is told what happens; it neither throws nor waits. */
export type CoalescerObserver = {
  /** Is given, once, what tells how many requests wait for a batch. */
  watchWaiting(count: () => number): void
  /** A batch begins. When it fails, what is run again request by request is no batch. */
  onBatch(requests: number): void
  /** A request was refused because too many wait. */
  onRefused(): void
}

type Waiting<Request, Outcome> = {
  readonly request: Request
  readonly resolve: (outcome: Outcome) => void
  readonly reject: (error: unknown) => void
}

/**
 * Turns concurrent calls into batches: what arrives while a batch is under way shares the next
 * one. A batch that fails as a whole is run again request by request, so that none fails for its
 * neighbour's sake.
 *
 * @throws {IpamError} `overloaded` when too many requests wait.
 */
export function coalesce<Request, Outcome>(options: CoalescerOptions<Request, Outcome>) {
  const queues = Array.from({ length: options.lanes }, (): Waiting<Request, Outcome>[] => [])
  const busy = new Set<number>()
  let waiting = 0
  const { observer } = options
  observer?.watchWaiting(() => waiting)

  async function drain(lane: number) {
    const queue = queues[lane] ?? []
    while (queue.length > 0) {
      const batch = queue.splice(0, batchLength(queue, options))
      waiting -= batch.length
      observer?.onBatch(batch.length)
      await runBatch(batch, options.run)
    }
    busy.delete(lane)
  }

  return (request: Request): Promise<Outcome> => {
    if (waiting >= options.waiting_max) {
      observer?.onRefused()
      return Promise.reject(new IpamError('overloaded'))
    }
    const lane = hash(options.lane(request)) % options.lanes
    return new Promise((resolve, reject) => {
      queues[lane]?.push({ request, resolve, reject })
      waiting++
      if (busy.has(lane)) return
      busy.add(lane)
      // Requests that the same turn of the event loop read off their sockets come along.
      setImmediate(() => void drain(lane))
    })
  }
}

function batchLength<Request, Outcome>(
  queue: readonly Waiting<Request, Outcome>[],
  { weigh, batch_weight_max }: CoalescerOptions<Request, Outcome>,
): number {
  let weight = 0
  const end = queue.findIndex(({ request }) => {
    weight += weigh(request)
    return weight > batch_weight_max
  })
  return end < 0 ? queue.length : Math.max(1, end)
}

async function runBatch<Request, Outcome>(
  batch: readonly Waiting<Request, Outcome>[],
  run: CoalescerOptions<Request, Outcome>['run'],
): Promise<void> {
  try {
    const outcomes = await run(batch.map(({ request }) => request))
    for (const [index, { resolve }] of batch.entries()) resolve(outcomes[index] as Outcome)
  } catch (error) {
    // Without an answer from the database nobody knows whether the batch was committed: to run
    // it again could do it twice. Any other error means that the transaction was rolled back.
    const isUnknown = error instanceof IpamError && error.code === 'database_unavailable'
    if (batch.length === 1 || isUnknown) {
      for (const { reject } of batch) reject(error)
      return
    }
    for (const one of batch) await runBatch([one], run)
  }
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let index = 0; index < text.length; index++) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193)
  }
  return value >>> 0
}
