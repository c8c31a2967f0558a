import { join } from 'node:path'
import type { IpVersion } from '../../ip/address.ts'
import { classPrefix, type Json, type Ours } from './configuration.ts'

// A Kea has one configuration. What others have in it stays, but for a few settings that all share.

/** What Kea needs to know beside subnets. */
export type Needs = {
  /** Where its reservations are. */
  readonly database: Json
  /** The library of commands on leases, if it is not to be there already. */
  readonly hook: string | null
  /** Where it writes who asks in vain; none if it shall not. */
  readonly failures: readonly string[]
}

/** The files of these in a folder. */
export const failureFiles = (version: IpVersion, folder: string): readonly string[] => [
  join(folder, `failures${version}.log`),
  ...(version === 6 ? [join(folder, 'associations6.log')] : []),
]

/** By what hosts are known, in the order in which Kea looks. */
export const identifiers = { 4: ['hw-address', 'client-id'], 6: ['hw-address', 'duid'] } as const

const listOf = (value: unknown): readonly Json[] => (Array.isArray(value) ? (value as Json[]) : [])

const isOurs = (one: Json): boolean =>
  (one['user-context'] as Json | undefined)?.melange !== undefined

const others = (value: unknown) => listOf(value).filter(one => !isOurs(one))
const otherClasses = (value: unknown) =>
  listOf(value).filter(({ name }) => !String(name).startsWith(classPrefix))

/** A configuration without what Melange had put into it before, and with what it has now. */
export function withOurs(version: IpVersion, running: Json, ours: Ours, needs: Needs): Json {
  const { 'hosts-database': single, ...config } = withoutOurs(version, running)
  const databases = [...(single ? [single as Json] : []), ...listOf(config['hosts-databases'])]
  const libraries = listOf(config['hooks-libraries'])
  const known = listOf(config['host-reservation-identifiers']) as readonly unknown[]
  const subnets = `subnet${version}`
  // Kea notes each lease for it, and so does it only where it is of use.
  const failures = needs.failures.slice(0, ours.is_open ? 2 : 1)
  const isThere = databases.some(one => isSameDatabase(one, needs.database))
  const hook = needs.hook === null || hasLeaseCommands(libraries) ? [] : [{ library: needs.hook }]
  return {
    ...config,
    'host-reservation-identifiers': [
      ...identifiers[version],
      ...known.filter(name => !(identifiers[version] as readonly unknown[]).includes(name)),
    ],
    // A host that is known by two names has its address in two rows.
    'ip-reservations-unique': false,
    'hosts-databases': isThere ? databases : [...databases, needs.database],
    'hooks-libraries': [...libraries, ...hook],
    'client-classes': [...listOf(config['client-classes']), ...ours.classes],
    [subnets]: [...listOf(config[subnets]), ...ours.subnets],
    'shared-networks': [...listOf(config['shared-networks']), ...ours.shared],
    loggers: [...listOf(config.loggers), ...failureLoggers(version, failures)],
  }
}

/** A configuration without what Melange has put into it. */
export function withoutOurs(version: IpVersion, running: Json): Json {
  const subnets = `subnet${version}`
  return {
    ...running,
    'client-classes': otherClasses(running['client-classes']),
    [subnets]: others(running[subnets]),
    'shared-networks': others(running['shared-networks']),
    loggers: listOf(running.loggers).filter(one => !isFailureLogger(version, one)),
  }
}

/**
 * The first says who asks in vain, and of DHCPv6 the second for which association (RFC 8415 §12). A file of
 * each is begun anew when it is long.
 */
const failureLoggerNames = {
  4: ['kea-dhcp4.alloc-engine'],
  6: ['kea-dhcp6.alloc-engine', 'kea-dhcp6.leases'],
} as const
const levels = [{ severity: 'WARN' }, { severity: 'DEBUG', debuglevel: 50 }]

const failureLoggers = (version: IpVersion, files: readonly string[]): Json[] =>
  files.map((output, index) => ({
    name: failureLoggerNames[version][index],
    ...levels[index],
    output_options: [{ output, flush: true, maxsize: 10_000_000, maxver: 1 }],
  }))

const isFailureLogger = (version: IpVersion, { output_options }: Json) =>
  failureFiles(version, '').some(name =>
    listOf(output_options).some(({ output }) => String(output).endsWith(`/${name}`)),
  )

const hasLeaseCommands = (libraries: readonly Json[]) =>
  libraries.some(({ library }) => String(library).endsWith('/libdhcp_lease_cmds.so'))

const isSameDatabase = (a: Json, b: Json) =>
  ['type', 'host', 'port', 'name'].every(name => String(a[name] ?? '') === String(b[name] ?? ''))
