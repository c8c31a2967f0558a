import { setTimeout as delay } from 'node:timers/promises'
import { Ledger, type Weather } from './ledger.ts'
import { RaceClient } from './race-client.ts'
import type { World } from './race-world.ts'
import type { ServerProcess } from './server-process.ts'

type Options = {
  readonly world: World
  readonly weather: Weather
  readonly clients: number
  readonly seed: number
  /** The server that the next request goes to. */
  readonly server: () => ServerProcess
}

/** Clients that go on until they are told to stop, while the test kills what they depend on. */
export function startLoad({ world, weather, clients, seed, server }: Options) {
  const ledger = new Ledger()
  let isOver = false
  let steps = 0

  const run = async (n: number) => {
    const name = `client-${seed}-${n}`
    const client = new RaceClient({ name, seed: seed + n, world, ledger, weather, server })
    while (!isOver) {
      const { lost } = ledger
      await client.step()
      steps += 1
      // What is away is away for some time: do not spin.
      if (ledger.lost > lost) await delay(20)
    }
  }
  const running = Promise.all(Array.from({ length: clients }, (_, n) => run(n)))
  running.catch(() => undefined) // It is reported by `stop`.
  const acknowledged = () => ledger.allocated.size + ledger.released.size

  return {
    ledger,
    /** Waits until clients have got so many more answers about their allocations. */
    async progress(wanted: number): Promise<void> {
      const goal = acknowledged() + wanted
      await waitUntil(`${wanted} more answers`, () => acknowledged() >= goal)
    },
    /** Waits until every client is likely to have tried something since. */
    async attempts(wanted: number): Promise<void> {
      const goal = steps + wanted
      await waitUntil(`${wanted} more attempts`, () => steps >= goal)
    },
    async stop(): Promise<Ledger> {
      isOver = true
      await running
      return ledger
    },
  }
}

const deadlineMs = 120_000

/** Waits for a condition, and says which if it does not come. */
export async function waitUntil(
  what: string,
  condition: () => boolean | Promise<boolean>,
  seconds = deadlineMs / 1000,
): Promise<void> {
  const deadline = Date.now() + 1000 * seconds
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`)
    await delay(10)
  }
}
