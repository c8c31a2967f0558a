import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import type { Answer, Problem } from './http-client.ts'
import { Random } from './random.ts'

export type Send = <T>(method: string, path: string, body?: object) => Promise<Answer<T & Problem>>
type Given = { readonly allocations: Allocation[] }

/** What the clients of a race over networks share. */
export type NetworkRace = {
  readonly send: Send
  readonly networks: readonly string[]
  /** The subnets that are there, or were a moment ago. */
  readonly subnets: Block[]
  /** Who has been told to have an address, until a release of it is sent. */
  readonly holders: Map<string, string>
  /** How often each thing ended in which way. */
  readonly outcomes: Map<string, number>
  /** What must not happen. */
  readonly faults: string[]
  /** The names of requests that were refused, of which nothing may be found. */
  readonly refused: string[]
  readonly isOver: () => boolean
}

type Wish = {
  readonly weight: number
  readonly kind: string
  readonly body: object
  readonly refusals: readonly string[]
}

const both = { families: [4, 6] }
const full = ['network_full', 'no_subnet']
const none = ['block_full', 'block_not_found', 'block_has_children']
const wishes: readonly Wish[] = [
  { weight: 12, kind: 'both', body: both, refusals: full },
  { weight: 4, kind: 'both twice', body: { ...both, count: 2 }, refusals: full },
  { weight: 5, kind: 'partial', body: { ...both, partial: true }, refusals: full },
  { weight: 6, kind: 'owner', body: { ...both, one_per_owner: true }, refusals: full },
  { weight: 2, kind: 'purpose', body: { ...both, purpose: 'vip' }, refusals: full },
  { weight: 2, kind: 'hold', body: { ...both, lifetime_seconds: 1 }, refusals: full },
  { weight: 5, kind: 'block', body: {}, refusals: none },
  { weight: 2, kind: 'block', body: { count: 3 }, refusals: none },
]

export const count = (race: NetworkRace, what: string): void => {
  race.outcomes.set(what, (race.outcomes.get(what) ?? 0) + 1)
}
const keyOf = ({ scope_id, address }: Allocation) => `${scope_id} ${address}`
const versionOf = ({ address }: Allocation) => (address.includes(':') ? 6 : 4)

/** One client: it asks, keeps some of what it gets for a while, and gives it back. */
export class NetworkRaceClient {
  readonly #race: NetworkRace
  readonly #random: Random
  readonly #name: string
  readonly #held: Allocation[] = []
  #requests = 0

  constructor(race: NetworkRace, name: string, seed: number) {
    this.#race = race
    this.#name = name
    this.#random = new Random(seed)
  }

  async run(): Promise<void> {
    while (!this.#race.isOver()) {
      await this.#ask()
      const most = this.#held.length > 6 ? 5 : 3
      const gone = this.#random.below(most)
      for (let n = 0; n < gone; n++) await this.#release()
    }
  }

  async #ask(): Promise<void> {
    const { send, networks, subnets, faults, refused } = this.#race
    const wish = this.#random.weighted(wishes)
    const name = `${wish.kind} ${this.#name} ${this.#requests++}`
    const place =
      wish.kind === 'block'
        ? { block_id: this.#random.pick(subnets)?.id }
        : { network_id: this.#random.pick(networks) }
    const owner = wish.kind === 'owner' && { owner_id: `vm ${this.#random.below(8)}` }
    // One project has a quota; whoever has an owner is of the same project as its rivals.
    const project_id = !owner && this.#random.below(4) === 0 ? 'narrow' : 'wide'
    const body = { ...place, ...wish.body, ...owner, project_id, name }
    const answer = await send<Given>('POST', '/v2/allocations', body)
    const what = answer.status === 201 ? 'given' : answer.body.code
    count(this.#race, `${wish.kind}: ${what}`)
    if (answer.status === 201) {
      this.#receive(wish, answer.body.allocations)
      return
    }
    refused.push(name)
    const isExpected =
      wish.refusals.includes(what) || (what === 'quota_exceeded' && project_id === 'narrow')
    if (!isExpected) faults.push(`${name}: ${answer.status} ${JSON.stringify(answer.body)}`)
  }

  #receive({ kind, body }: Wish, allocations: Allocation[]): void {
    const { faults, holders } = this.#race
    const versions = allocations.map(versionOf).join()
    const each = 'count' in body ? Number(body.count) : 1
    const isPart = kind === 'partial' && (versions === '4' || versions === '6')
    const whole = [4, 6].flatMap(version => Array(each).fill(version)).join()
    const isWhole = kind === 'block' ? allocations.length === each : versions === whole
    if (!isWhole && !isPart) faults.push(`${kind}: ${JSON.stringify(allocations)}`)
    for (const allocation of allocations) {
      // A rival may give back what one owner has once, and holds lapse by themselves.
      if (kind === 'owner' || kind === 'hold') continue
      const key = keyOf(allocation)
      const other = holders.get(key)
      if (other !== undefined) faults.push(`${key} is held by ${other} and ${allocation.name}`)
      holders.set(key, allocation.name)
    }
    this.#held.push(...allocations)
  }

  async #release(): Promise<void> {
    const { send, holders, faults } = this.#race
    const allocation = this.#random.take(this.#held)
    if (!allocation) return
    holders.delete(keyOf(allocation))
    const answer = await send('DELETE', `/v2/allocations/${allocation.id}`)
    count(this.#race, `release: ${answer.status}`)
    if (answer.status !== 200) faults.push(`release: ${answer.status} ${answer.body.code}`)
  }
}
