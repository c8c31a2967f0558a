import type { Load } from './load.ts'

/** A server of which each trial starts a new process, which has no leases then. */
export type DhcpServer = {
  readonly name: string
  /** Whether it can be put under this load. */
  takes(load: Load): boolean
  start(load: Load): Promise<RunningServer>
}

export type RunningServer = {
  /** The first processes of the server and of what works for it. */
  readonly pids: { readonly server: number; readonly database?: number; readonly api?: number }
  /** The first client that has no lease. */
  readonly first: number
  /** Whether client n has the address n of the hosts. */
  readonly expects: boolean
  /** Why it does not run any more, or null. */
  failure(): string | null
  stop(): Promise<void>
}

/** How many clients of each kind there are. */
export type Population = {
  readonly known: number
  readonly new: number
  /** More new ones, behind the others, for what comes before the measurement. */
  readonly spare: number
}

/** How many hosts a server must know for a load. */
export const hostsOf = (load: Load, population: Population) =>
  load.clients === 'known' ? population.known : 0
