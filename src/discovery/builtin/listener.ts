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
  /** The CIDRs of the subnets that a network has. */
  readonly cidrsOf: (network_id: string) => readonly string[]
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
  const { config, ports, inherited, cidrsOf, receive, log } = options
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
  let last: Promise<void> = Promise.resolve()

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

  const plan = () => planSockets({ config, cidrsOf, surroundings, inherited })

  /** Opens and closes what has to be, and says what does not work. */
  async function follow(): Promise<readonly string[]> {
    if (isStopped) return []
    const planned = plan()
    const failures = await sockets.follow(planned.sockets)
    return [...planned.refusals, ...planned.problems, ...failures]
  }

  function report(found: readonly string[]) {
    for (const problem of found)
      if (!problems.includes(problem)) log.error({ problem }, 'not served')
    for (const problem of problems) if (!found.includes(problem)) log.info({ problem }, 'is over')
    problems = found
  }

  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const next = last.then(work)
    last = next.catch(() => {}) // Whoever asked for it hears of it.
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
        report(await follow())
      })
        .catch(error => log.error({ err: error }, 'could not look after the sockets'))
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
    look: () => inTurn(async () => report(await follow())),
    async start() {
      if (namespaces.length === 0) {
        throw new DiscoveryError('no network has an interface, and relay_listen has no address')
      }
      await inTurn(async () => {
        await seeAll(namespaces)
        const [refusal] = plan().refusals
        if (refusal !== undefined) throw new DiscoveryError(refusal)
        const found = await follow()
        const [reason] = sockets.count() === 0 ? found : []
        if (reason !== undefined) throw new DiscoveryError(reason)
        report(found)
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
