import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import { type Call, call, type Ledger, type Outcome, type Weather } from './ledger.ts'
import { operations } from './race-operations.ts'
import type { World } from './race-world.ts'
import { Random } from './random.ts'
import type { ServerProcess } from './server-process.ts'

type Options = {
  readonly name: string
  readonly seed: number
  readonly world: World
  readonly ledger: Ledger
  readonly weather: Weather
  /** A server to ask now; any of them must do. */
  readonly server: () => ServerProcess
}

/** One of many who want addresses at the same time. */
export class RaceClient {
  readonly name: string
  readonly random: Random
  readonly world: World
  readonly ledger: Ledger
  readonly weather: Weather
  /** What this client holds, with the generation that it knows. */
  readonly held: Allocation[] = []
  /** What it has released. */
  readonly ended: Allocation[] = []
  readonly #server: () => ServerProcess
  #requests = 0

  constructor({ name, seed, world, ledger, weather, server }: Options) {
    this.name = name
    this.random = new Random(seed)
    this.world = world
    this.ledger = ledger
    this.weather = weather
    this.#server = server
  }

  /** Does one thing; what it holds is bounded, so that it releases as it allocates. */
  async step(): Promise<void> {
    const isRich = this.held.length > 24
    const fitting = operations.filter(({ gains }) => !(isRich && gains))
    await this.random.weighted(fitting).run(this)
  }

  send<T>(request: Call): Promise<Outcome<T>> {
    const { ledger, weather } = this
    return call<T>({ server: this.#server(), ledger, weather }, request)
  }

  /** A name that no other request has. */
  nameRequest(): string {
    this.#requests += 1
    return `${this.name}-${this.#requests}`
  }

  /** A block to allocate from, most often one that many want. */
  pickBlock(): Block {
    const { leaves, children } = this.world
    const isShared = children.length === 0 || this.random.below(8) > 0
    const block = this.random.pick(isShared ? leaves : children)
    if (!block) throw new Error('the world has no blocks')
    return block
  }
}
