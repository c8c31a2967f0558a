import { type Static, Type } from 'typebox'
import { type Database, retryTransaction, rows } from '../../db/database.ts'
import { allOf, type Sql, sql } from '../../db/sql.ts'
import { encodeOption, readOptionValue } from '../../dhcp/option-types.ts'
import { type OptionDefinition, optionOf } from '../../dhcp/options.ts'
import { IpamError } from '../../errors.ts'
import { type Expected, refuseUnexpected } from '../../etags.ts'
import { newId } from '../../ids.ts'
import { Id, Nullable, ProjectId } from '../../schema.ts'
import { appendEvents, type EventType, type NewEvent } from '../events/store.ts'
import { DhcpOption, optionsMax, type SubjectType } from './schema.ts'

/** What options are set on. */
export type Subject = { readonly type: SubjectType; readonly id: string }
type Place = { readonly subject: Subject; readonly option: OptionDefinition }
/** An option that is to be changed, if it still is as the caller knows it. */
type Target = Place & { readonly expected: Expected }

/** The kinds of things that options are set on: to add one, add a column to the table, and a row. */
const kinds = {
  address_scope: { table: sql`address_scopes`, column: sql`scope_id`, words: 'address scope' },
  network: { table: sql`networks`, column: sql`network_id`, words: 'network' },
  block: { table: sql`blocks`, column: sql`block_id`, words: 'block' },
  interface: { table: sql`interfaces`, column: sql`interface_id`, words: 'interface' },
} as const satisfies Record<SubjectType, { table: Sql; column: Sql; words: string }>

const columns = sql`
  id, case when scope_id is not null then 'address_scope' when network_id is not null then 'network'
    when block_id is not null then 'block' else 'interface' end as subject_type,
  coalesce(scope_id, network_id, block_id, interface_id) as subject_id,
  version, code, value, generation, created_at, updated_at`

const { attached_to: _, name: _name, type: _type, wire: _wire, ...stored } = DhcpOption.properties
const StoredOption = Type.Object({
  ...stored,
  subject_type: DhcpOption.properties.attached_to.properties.type,
  subject_id: Id,
})
type StoredOption = Static<typeof StoredOption>

/** The value as answers show it, with the bytes that a server sends. */
export const showValue = (option: OptionDefinition, value: unknown) => ({
  code: option.code,
  name: option.name,
  type: option.type,
  value,
  wire: encodeOption(option, value).map(bytes => bytes.toString('hex')),
})

function showOption({ subject_type, subject_id, value, ...option }: StoredOption): DhcpOption {
  const { id, version, code, ...rest } = option
  return {
    id,
    attached_to: { type: subject_type, id: subject_id },
    version,
    ...showValue(optionOf(version, code), value),
    ...rest,
  }
}

const isOn = ({ type, id }: Subject): Sql => sql`${kinds[type].column} = ${id}`
const isAt = ({ subject, option }: Place): Sql => sql`
  ${isOn(subject)} and version = ${option.version} and code = ${option.code}`

/** @throws {IpamError} `dhcp_option_not_found`, and that of what is to have it */
export async function getOption(db: Database, place: Place): Promise<DhcpOption> {
  const [found] = await rows(db, StoredOption)`
    select ${columns} from dhcp_options where ${isAt(place)}`
  if (found) return showOption(found)
  await getSubject(db, place.subject)
  throw notFound(place)
}

/**
 * What is set on something, by version and code; one more than a page holds.
 *
 * @throws {IpamError} that of what is to have them
 */
export async function listOptions(
  db: Database,
  { subject, version }: { subject: Subject; version: 4 | 6 | undefined },
  { limit, after }: { limit: number; after: readonly string[] | null },
): Promise<DhcpOption[]> {
  await getSubject(db, subject)
  const conditions = [
    isOn(subject),
    ...(version ? [sql`version = ${version}`] : []),
    ...(after ? [sql`(version, code) > (${after[0]}, ${after[1]})`] : []),
  ]
  const found = await rows(db, StoredOption)`
    select ${columns} from dhcp_options
    where ${allOf(conditions)} order by version, code limit ${limit + 1}`
  return found.map(showOption)
}

const Count = Type.Object({ options: Type.Integer() })

/**
 * Sets an option to a value, in place of the one that it had.
 *
 * @throws {IpamError} `invalid_request`, `cidr_has_host_bits`, `precondition_failed`,
 * `dhcp_option_limit_reached`, and that of what is to have it
 */
export function setOption(
  db: Database,
  { expected, ...place }: Target,
  given: unknown,
): Promise<DhcpOption> {
  const { subject, option } = place
  const value = JSON.stringify(readOptionValue(option, given, 'value'))
  return retryTransaction(db, async tx => {
    const { project_id } = await holdSubject(tx, subject)
    const [before] = await rows(tx, StoredOption)`
      select ${columns} from dhcp_options where ${isAt(place)}`
    if (before) refuseUnexpected(before, expected)
    else {
      const field = 'if-match'
      if (expected) throw new IpamError('precondition_failed', 'It is not set yet.', { field })
      await refuseMore(tx, subject)
    }
    const [after] = await rows(tx, StoredOption)`${
      before
        ? sql`
      update dhcp_options set value = ${value}, generation = generation + 1,
        updated_at = clock_timestamp()
      where id = ${before.id} returning ${columns}`
        : sql`
      insert into dhcp_options (id, ${kinds[subject.type].column}, version, code, value)
      values (${newId()}, ${subject.id}, ${option.version}, ${option.code}, ${value})
      returning ${columns}`
    }`
    if (!after) throw new Error('an option that was set did not come back')
    const data = showOption(after)
    const type = before ? 'dhcp_option.updated' : 'dhcp_option.created'
    await appendEvents(tx, [eventOf(type, project_id, data)])
    return data
  })
}

/** @throws {IpamError} `dhcp_option_not_found`, `precondition_failed`, and that of what has it */
export function deleteOption(db: Database, { expected, ...place }: Target): Promise<void> {
  return retryTransaction(db, async tx => {
    const { project_id } = await holdSubject(tx, place.subject)
    const [gone] = await rows(tx, StoredOption)`
      delete from dhcp_options where ${isAt(place)} returning ${columns}`
    if (!gone) throw notFound(place)
    refuseUnexpected(gone, expected)
    await appendEvents(tx, [eventOf('dhcp_option.deleted', project_id, showOption(gone))])
  })
}

/**
 * Deletes the options of something that is locked to be deleted; returns the events to write.
 */
export async function deleteOptionsOf(
  tx: Database,
  subject: Subject & { readonly project_id: string | null },
): Promise<NewEvent[]> {
  const gone = await rows(tx, StoredOption)`
    delete from dhcp_options where ${isOn(subject)} returning ${columns}`
  return gone.map(one => eventOf('dhcp_option.deleted', subject.project_id, showOption(one)))
}

/** @throws {IpamError} `dhcp_option_limit_reached` */
async function refuseMore(tx: Database, subject: Subject): Promise<void> {
  const [count] = await rows(tx, Count)`
    select count(*)::int as options from dhcp_options where ${isOn(subject)}`
  if (!count || count.options < optionsMax) return
  const detail = `The ${kinds[subject.type].words} has ${count.options}, which is the most.`
  throw new IpamError('dhcp_option_limit_reached', detail)
}

const Owned = Type.Object({ project_id: Nullable(ProjectId) })
type Owned = Static<typeof Owned>

const getSubject = (db: Database, subject: Subject) => readSubject(db, subject, sql``)
/** Its options are changed by one transaction at a time, and it stays where it is. */
const holdSubject = (tx: Database, subject: Subject) =>
  readSubject(tx, subject, sql`for no key update`)

async function readSubject(db: Database, { type, id }: Subject, lock: Sql): Promise<Owned> {
  const { table, words } = kinds[type]
  const [found] = await rows(db, Owned)`select project_id from ${table} where id = ${id} ${lock}`
  if (!found) throw new IpamError(`${type}_not_found`, `There is no ${words} ${id}.`)
  return found
}

function notFound({ subject: { type, id }, option }: Place): IpamError {
  const what = `DHCPv${option.version} option ${option.name ?? option.code}`
  const where = `the ${kinds[type].words} ${id}`
  return new IpamError('dhcp_option_not_found', `${what} is not set on ${where}.`)
}

const eventOf = (type: EventType, project_id: string | null, data: DhcpOption): NewEvent => {
  return { type, object_id: data.id, project_id, data }
}
