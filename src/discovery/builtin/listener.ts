import type { Logger } from 'pino'
import type { DiscoveryConfig } from '../config.ts'
import { DiscoveryError } from '../driver.ts'
import { ownSurroundings, type Surroundings, surroundingsOf } from './interfaces.ts'
import { namespacesOf, planSockets } from './plan.ts'
import { createSockets, type Receive, type Sockets } from './sockets.ts'

export type ListenerOptions = {
  readonly config: Pick<DiscoveryConfig, 'networks' | 'relay_listen'>
  readonly ports: Readonly<Record<4 | 6, number>>
  readonly inherited: ReadonlyMap<string, number>
  /** Versions of the subnets that a network has. */
  readonly versionsOf: (network_id: string) => ReadonlySet<4 | 6>
  readonly receive: Receive
  readonly log: Logger
}

/** Has the right sockets open, as interfaces and their addresses come and go. */
export type Listener = Pick<Sockets, 'send'> & {
  /** @throws {DiscoveryError} if nothing can be heard, or not as it is configured */
  start(): Promise<void>
  /** Looks whether other sockets are needed; resolves when they are open. */
  look(): Promise<void>
  problems(): readonly string[]
  stop(): Promise<void>
}

/** How often it is looked whether interfaces changed, and in how many namespaces each time. */
const lookMs = 3000
const namespacesAtOnce = 10
/** After a packet could not be sent it is looked sooner. */
const soonMs = 300

export function createListener(options: ListenerOptions): Listener {
  const { config, ports, inherited, versionsOf, receive, log } = options
  const namespaces = [...namespacesOf(config)]
  const elsewhere = namespaces.filter(one => one !== null)
  const surroundings = new Map<string | null, Surroundings | string>()
  const sockets = createSockets({ ports, log, receive, onTrouble: lookSoon })
  let problems: readonly string[] = []
  let timer: NodeJS.Timeout | undefined
  let turn = 0
  let isStopped = false
  let isSoon = false
  /** Looks come one after the other. */
  let last: Promise<unknown> = Promise.resolve()

  async function see(namespace: string | null) {
    try {
      const around = namespace === null ? ownSurroundings() : await surroundingsOf(namespace)
      surroundings.set(namespace, around)
    } catch (error) {
      const reason = error instanceof Error ? error.message.trim().split('\n').at(-1) : error
      surroundings.set(namespace, `cannot look into namespace ${namespace}: ${reason}`)
    }
  }

  async function seeAll(some: readonly (string | null)[]) {
    for (let first = 0; first < some.length; first += namespacesAtOnce) {
      await Promise.all(some.slice(first, first + namespacesAtOnce).map(see))
    }
  }

  async function follow() {
    const plan = planSockets({ config, versionsOf, surroundings, inherited })
    const failures = isStopped ? [] : await sockets.follow(plan.sockets)
    const found = [...plan.refusals, ...plan.problems, ...failures]
    for (const problem of found)
      if (!problems.includes(problem)) log.error({ problem }, 'not served')
    for (const problem of problems) if (!found.includes(problem)) log.info({ problem }, 'is over')
    problems = found
    return plan
  }

  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const next = last.then(work)
    last = next.catch(error => log.error({ error }, 'could not look after the sockets'))
    return next
  }

  function schedule(ms: number) {
    clearTimeout(timer)
    if (isStopped) return
    timer = setTimeout(() => {
      isSoon = false
      const some = elsewhere.slice(turn, turn + namespacesAtOnce)
      turn = turn + namespacesAtOnce < elsewhere.length ? turn + namespacesAtOnce : 0
      void inTurn(async () => {
        await seeAll(namespaces.includes(null) ? [null, ...some] : some)
        await follow()
      })
        .catch(() => {}) // It has been logged.
        .finally(() => schedule(lookMs))
    }, ms)
  }

  function lookSoon() {
    if (isSoon) return
    isSoon = true
    schedule(soonMs)
  }

  return {
    send: sockets.send,
    problems: () => problems,
    look: () => inTurn(async () => void (await follow())),
    async start() {
      await inTurn(async () => {
        await seeAll(namespaces)
        const { refusals } = await follow()
        const [reason] = refusals.length > 0 || sockets.count() === 0 ? problems : []
        if (reason === undefined) return
        isStopped = true
        sockets.close()
        throw new DiscoveryError(reason)
      })
      schedule(lookMs)
    },
    async stop() {
      isStopped = true
      clearTimeout(timer)
      await last
      sockets.close()
    },
  }
}
