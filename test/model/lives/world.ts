import { Type } from 'typebox'
import { type OpenDatabase, rows } from '../../../src/db/database.ts'
import { Sql } from '../../../src/db/sql.ts'
import { formatPrefix, type Prefix, parsePrefix } from '../../../src/ip/prefix.ts'
import { createAddressScope } from '../../../src/resources/address-scopes/store.ts'
import { createNetwork } from '../../../src/resources/networks/store.ts'
import { createPolicy } from '../../../src/resources/policies/store.ts'
import { Random } from '../../helpers/random.ts'
import { someRules } from './rules.ts'

// Addresses live all their lives, as chance has it: blocks, networks and policies come, change and
// go; allocations begin, are held, renewed and confirmed, end, wait, are taken back and reused.

export type Operation = {
  readonly weight: number
  readonly run: (lives: Lives) => Promise<void>
}

export const projects = ['red', 'blue'] as const

const Found = Type.Object({ id: Type.String(), text: Type.String() })

/** Operations on a database, one after the other; the same seed does the same again. */
export class Lives {
  readonly db: OpenDatabase
  readonly random: Random
  /** How often each operation was done, and how often it was refused, by the code. */
  readonly outcomes = new Map<string, number>()
  #names = 0

  constructor(db: OpenDatabase, seed: number) {
    this.db = db
    this.random = new Random(seed)
  }

  /** Puts a clock in the place of the database's that tests can move on, and makes owners. */
  async begin(): Promise<void> {
    const { db, random } = this
    await db.execute(`
      create table if not exists lives_clock (at timestamptz not null);
      insert into lives_clock values ('2030-01-01T00:00:00Z');
      create or replace function wall_time() returns timestamptz language sql volatile as $$
        update lives_clock set at = at + interval '1 millisecond' returning at
      $$`)
    for (const project_id of projects) {
      await createAddressScope(db, { project_id, name: 'private' })
      await createNetwork(db, { project_id })
      await createPolicy(db, { name: this.name(), rules: someRules(random) })
    }
  }

  note(outcome: string): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1)
  }

  /** A name that nothing else has. */
  name(): string {
    this.#names += 1
    return `name-${this.#names}`
  }

  /** Any row of a table, if it has some; its `text` is what the caller asks for. */
  async find(table: string, text = 'id') {
    const of = new Sql([`from (select *, ${text}::text as text from ${table} rows_of) t`], [])
    const [all] = await rows(this.db, Type.Object({ count: Type.Integer() }))`
      select count(*) as count ${of}`
    const place = this.random.below(Math.max(1, all?.count ?? 0))
    const [found] = await rows(this.db, Found)`
      select id, text ${of} order by id limit 1 offset ${place}`
    return found
  }

  /** A value every other time, or as seldom as is said; else nothing. */
  sometimes<T>(value: T, often = 2): T | undefined {
    return this.random.below(often) === 0 ? value : undefined
  }
}

export const bitsOf = ({ version }: Prefix) => (version === 4 ? 32 : 128)

export function readCidr(cidr: string): Prefix {
  const prefix = parsePrefix(cidr)?.prefix
  if (!prefix) throw new Error(`not a CIDR: ${cidr}`)
  return prefix
}

/** A prefix of a block that is longer by up to so many bits: near an end, where most happens. */
export function somePrefix(random: Random, cidr: string, length: number): string {
  const prefix = readCidr(cidr)
  const step = 1n << BigInt(bitsOf(prefix) - length)
  const last = (1n << BigInt(length - prefix.length)) - 1n
  const place = BigInt(random.below(Number(last < 40n ? last + 1n : 40n)))
  const first = prefix.first + (random.below(4) > 0 ? place : last - place) * step
  return formatPrefix({ version: prefix.version, first, length })
}

export function someAddress(random: Random, cidr: string): string {
  return somePrefix(random, cidr, bitsOf(readCidr(cidr))).replace(/\/.*/, '')
}
