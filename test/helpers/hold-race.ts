import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Query } from './direct-sql.ts'
import { type Call, call, Ledger } from './ledger.ts'
import { Random } from './random.ts'
import type { ServerProcess } from './server-process.ts'

/** What clients that hold addresses for a second share. */
export class HoldRace {
  readonly ledger = new Ledger()
  /** What each acknowledged change promised last, and what was released. */
  readonly promised = new Map<string, Allocation>()
  readonly released = new Set<string>()
  /** Addresses that somebody had: thieves try to get them. */
  readonly known: string[] = []
  readonly blocks: readonly string[]
  readonly #servers: readonly ServerProcess[]

  constructor(blocks: readonly string[], servers: readonly ServerProcess[]) {
    this.blocks = blocks
    this.#servers = servers
  }

  /** Does things until it is over, one after the other. */
  async run(n: number, isOver: () => boolean): Promise<void> {
    const client = new HoldClient(this, n)
    while (!isOver()) await client.step()
  }

  send<T>(n: number, request: Call) {
    const server = this.#servers[n % this.#servers.length] as ServerProcess
    const weather = { mayLoseAnswers: false, mayLackDatabase: false }
    return call<T>({ server, ledger: this.ledger, weather }, request)
  }
}

const lifetime_seconds = 1

/** Somebody who holds addresses, and renews them in time, or does not. */
class HoldClient {
  readonly #race: HoldRace
  readonly #random: Random
  readonly #owner: { project_id: string; owner_id: string }
  readonly #holds: Allocation[] = []
  readonly #lost: Allocation[] = []
  #requests: number

  constructor(race: HoldRace, n: number) {
    this.#race = race
    this.#random = new Random(n)
    this.#requests = n
    this.#owner = { project_id: 'p', owner_id: `client-${n}` }
  }

  step(): Promise<void> {
    const isRich = this.#holds.length > 8
    const actions = [
      { weight: isRich ? 0 : 10, run: () => this.#take() },
      { weight: 25, run: () => this.#renew() },
      { weight: 6, run: () => this.#renewAll() },
      { weight: 2, run: () => this.#confirm() },
      { weight: 6, run: () => this.#release() },
      { weight: 6, run: () => this.#restore() },
      { weight: 6, run: () => this.#steal() },
      { weight: 6, run: () => this.#forget() },
    ]
    return this.#random.weighted(actions).run()
  }

  #send<T>(operation: string, path: string, body: object, refusals: readonly string[]) {
    const status = operation === 'take' || operation === 'steal' || operation === 'restore'
    this.#requests += 1
    return this.#race.send<T>(this.#requests, {
      operation,
      method: 'POST',
      path,
      body,
      status: status ? 201 : 200,
      refusals,
    })
  }

  #note(allocation: Allocation): void {
    this.#race.promised.set(allocation.id, allocation)
    this.#holds.push(allocation)
    if (this.#race.known.length < 5000) this.#race.known.push(allocation.address)
  }

  async #take(): Promise<void> {
    const block_id = this.#random.pick(this.#race.blocks)
    const body = { block_id, lifetime_seconds, ...this.#owner }
    const refusals = ['block_full']
    const outcome = await this.#send<{ allocations: Allocation[] }>(
      'take',
      '/v2/allocations',
      body,
      refusals,
    )
    if (outcome.kind === 'done') for (const one of outcome.body.allocations) this.#note(one)
  }

  /** Wants an address that another has, or had a moment ago. */
  async #steal(): Promise<void> {
    const address = this.#random.pick(this.#race.known)
    if (!address) return
    const [large, small] = this.#race.blocks
    const block_id = address.startsWith('10.0.4.') ? small : large
    const body = { block_id, address, lifetime_seconds, ...this.#owner }
    const refusals = ['address_taken', 'address_quarantined']
    const outcome = await this.#send<{ allocations: Allocation[] }>(
      'steal',
      '/v2/allocations',
      body,
      refusals,
    )
    if (outcome.kind === 'done') for (const one of outcome.body.allocations) this.#note(one)
  }

  async #renew(): Promise<void> {
    const hold = this.#random.take(this.#holds)
    if (!hold) return
    const isConditional = this.#random.below(2) === 0
    const outcome = await this.#send<Allocation>(
      'renew',
      `/v2/allocations/${hold.id}/renew`,
      { lifetime_seconds, ...(isConditional && { generation: hold.generation }) },
      ['hold_expired'],
    )
    if (outcome.kind === 'done') this.#changed(hold, outcome.body)
    else this.#lose(hold)
  }

  #changed(before: Allocation, after: Allocation): void {
    const { ledger } = this.#race
    if (after.id !== before.id || after.generation !== before.generation + 1) {
      ledger.surprise(`${before.id} ${before.generation} became ${after.id} ${after.generation}`)
    }
    if (after.expires_at && String(before.expires_at) > after.expires_at) {
      ledger.surprise(`${before.id} was to last until ${before.expires_at}, ${after.expires_at}`)
    }
    this.#note(after)
  }

  /** A hold that was refused as lapsed: it must have lasted as long as was promised. */
  #lose(hold: Allocation): void {
    if (Date.parse(String(hold.expires_at)) > Date.now()) {
      this.#race.ledger.surprise(`${hold.id} was lost before ${hold.expires_at}`)
    }
    this.#lost.push(hold)
  }

  async #renewAll(): Promise<void> {
    const before = this.#holds.splice(0)
    const outcome = await this.#send<{ allocations: Allocation[]; lapsed: Allocation[] }>(
      'renew all',
      '/v2/allocations/renew',
      { lifetime_seconds, ...this.#owner },
      [],
    )
    if (outcome.kind !== 'done') return
    const renewed = new Map(outcome.body.allocations.map(one => [one.id, one]))
    // Those too that it has forgotten.
    for (const one of outcome.body.allocations) this.#race.promised.set(one.id, one)
    for (const hold of before) {
      const after = renewed.get(hold.id)
      if (after) this.#changed(hold, after)
      else this.#lose(hold)
    }
    const lapsed = new Set(outcome.body.lapsed.map(({ id }) => id))
    if (outcome.body.allocations.some(({ id }) => lapsed.has(id))) {
      this.#race.ledger.surprise('a hold was both renewed and lapsed')
    }
  }

  async #confirm(): Promise<void> {
    const hold = this.#random.take(this.#holds)
    if (!hold) return
    const outcome = await this.#send<Allocation>(
      'confirm',
      `/v2/allocations/${hold.id}/confirm`,
      {},
      ['hold_expired'],
    )
    if (outcome.kind !== 'done') return this.#lose(hold)
    if (outcome.body.expires_at !== null) this.#race.ledger.surprise(`${hold.id} expires`)
    // It would be there for good, and the blocks are small.
    await this.#end(outcome.body)
  }

  async #release(): Promise<void> {
    const hold = this.#random.take(this.#holds)
    if (hold) await this.#end(hold)
  }

  async #end({ id }: Allocation): Promise<void> {
    this.#race.promised.delete(id)
    const outcome = await this.#race.send<Allocation>(this.#requests++, {
      operation: 'release',
      method: 'DELETE',
      path: `/v2/allocations/${id}`,
      status: 200,
    })
    if (outcome.kind !== 'done') return
    this.#race.released.add(id)
    this.#lost.push(outcome.body)
  }

  /** A client that is away: its holds lapse by themselves. */
  async #forget(): Promise<void> {
    const hold = this.#random.take(this.#holds)
    if (hold) this.#lost.push(hold)
  }

  async #restore(): Promise<void> {
    const lost = this.#random.take(this.#lost)
    if (!lost) return
    const started = Date.now()
    const outcome = await this.#send<Allocation>(
      'restore',
      `/v2/allocations/${lost.id}/restore`,
      { lifetime_seconds },
      ['quarantine_over', 'allocation_not_ended'],
    )
    if (outcome.kind === 'refused' && outcome.code === 'allocation_not_ended') {
      // By its owner it may have been renewed since it was forgotten.
      const { expires_at } = this.#race.promised.get(lost.id) ?? lost
      if (Date.parse(String(expires_at)) < started) {
        this.#race.ledger.surprise(`${lost.id} has not ended, but lasted until ${expires_at}`)
      }
      this.#lost.push(lost)
    }
    if (outcome.kind !== 'done') return
    if (outcome.body.address !== lost.address || outcome.body.id === lost.id) {
      this.#race.ledger.surprise(`${lost.address} was restored as ${outcome.body.address}`)
    }
    this.#note(outcome.body)
  }
}

const time = (column: string) =>
  `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`

/** Promises that the database did not keep. */
export async function brokenPromises(query: Query, race: HoldRace): Promise<string[]> {
  const found = await query(`
    select id, generation, ${time('expires_at')} as expires_at, null as ended_at from allocations
    union all
    select id, generation - 1, ${time('expires_at')}, ${time('ended_at')} from allocation_history`)
  const stored = new Map(found.map(row => [row.id, row]))
  const broken: string[] = []
  for (const { id, expires_at, generation } of race.promised.values()) {
    const row = stored.get(id)
    if (!row) broken.push(`${id} is gone`)
    else if (row.generation !== generation || row.expires_at !== expires_at) {
      broken.push(`${id} was told ${generation} ${expires_at}, is ${JSON.stringify(row)}`)
    } else if (row.ended_at !== null && String(row.ended_at) < String(expires_at)) {
      broken.push(`${id} was promised until ${expires_at}, and ended at ${row.ended_at}`)
    }
  }
  return broken
}

/** What must be true of holds and quarantine, by plain queries. */
export const holdFaults: Readonly<Record<string, string>> = {
  'an address is both held and in quarantine': `
    select q.address from quarantine q
    join allocations a on a.scope_id = q.scope_id and a.address && q.address`,
  'an address is both free and in quarantine': `
    select q.address from quarantine q join free_ranges f on f.block_id = q.block_id
      and q.address between f.first and f.last`,
  'quarantine without an end, or another one than the history says': `
    select q.address from quarantine q left join allocation_history h on h.id = q.allocation_id
    where h.id is null or (h.address, h.ended_at, h.quarantined_until)
      is distinct from (q.address, q.ended_at, q.quarantined_until)`,
  'a hold that lapsed did not wait for a minute': `
    select id from allocation_history where expires_at <= ended_at
      and quarantined_until < ended_at + interval '1 minute'`,
  'an address went to another while it waited, where it may not': `
    select h.id, n.id from allocation_history h join blocks b on b.id = h.block_id
    join (
      select id, scope_id, address, owner_id, started_at from allocations
      union all
      select id, scope_id, address, owner_id, started_at from allocation_history
    ) n on n.scope_id = h.scope_id and n.address = h.address and n.owner_id <> h.owner_id
    where not b.quarantine_reuse and n.started_at >= h.ended_at
      and n.started_at < h.quarantined_until
      and not exists (
        -- Its owner had it again, and let go of it, in between.
        select from allocation_history again
        where again.scope_id = h.scope_id and again.address = h.address
          and again.started_at >= h.ended_at and again.ended_at <= n.started_at)`,
  'counts are not what is there': `
    select u.block_id from block_usage u where (allocated, held, quarantined) is distinct from (
      (select count(*) from allocations a where a.block_id = u.block_id and expires_at is null),
      (select count(*) from allocations a where a.block_id = u.block_id and expires_at is not null),
      (select count(*) from quarantine q where q.block_id = u.block_id))`,
}
