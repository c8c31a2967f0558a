import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { query } from '../setup.ts'
import { type Database, runSqlFile } from './database.ts'
import { addressOf, duidOf, macOf, numbers } from './hosts.ts'
import { type Lab, type Started, segment, serverInterface } from './lab.ts'
import { type DhcpServer, hostsOf, type Population } from './servers.ts'
import type { SizedServer } from './sizes.ts'

const schemaFile = '/usr/share/kea/scripts/pgsql/dhcpdb_create.pgsql'
const databaseUser = 'postgres'

/** A database with Kea's tables. */
export type KeaDatabase = Database & { readonly name: string; readonly url: string }

export async function makeKeaDatabase(database: Database, name: string): Promise<KeaDatabase> {
  const url = await database.postgres.createDatabase(name)
  await runSqlFile(url, schemaFile)
  return { ...database, name, url }
}

export type KeaOptions = {
  readonly version: 4 | 6
  readonly threads: number
  /** Hosts in the configuration. */
  readonly hosts: number
  readonly has_pool: boolean
  /** Where leases are, if not in memory and a file. */
  readonly lease_database?: KeaDatabase
  /** Where more hosts are. */
  readonly host_database?: KeaDatabase
}

/** Starts Kea in a lab, with no leases in its file. */
export function startKea(lab: Lab, options: KeaOptions): Started {
  const folder = lab.makeFolder('kea')
  rmSync(folder, { recursive: true })
  lab.makeFolder('kea')
  const program = `kea-dhcp${options.version}`
  const file = join(folder, `${program}.json`)
  writeFileSync(file, JSON.stringify(keaConfiguration(folder, options)))
  return lab.start({
    namespace: lab.servers,
    command: [program, '-c', file],
    environment: { KEA_PIDFILE_DIR: folder, KEA_LOCKFILE_DIR: folder },
  })
}

function keaConfiguration(folder: string, options: KeaOptions): object {
  const { version, threads, hosts, has_pool, lease_database, host_database } = options
  const { cidr, server, pool } = segment[version]
  const common = {
    'lease-database': lease_database
      ? databaseOf(lease_database)
      : { type: 'memfile', persist: true, name: join(folder, 'leases.csv'), 'lfc-interval': 3600 },
    ...(host_database && { 'hosts-database': databaseOf(host_database) }),
    'valid-lifetime': 3600,
    'renew-timer': 1800,
    'rebind-timer': 3150,
    'multi-threading': {
      'enable-multi-threading': threads > 1,
      'thread-pool-size': threads > 1 ? threads : 0,
      'packet-queue-size': 64,
    },
    'reservations-in-subnet': true,
    'reservations-out-of-pool': hosts > 0 || host_database !== undefined,
    loggers: [
      {
        name: `kea-dhcp${version}`,
        output_options: [{ output: 'stderr' }],
        severity: 'ERROR',
      },
    ],
  }
  const subnet = { id: 1, subnet: cidr, pools: has_pool ? [{ pool: pool.join(' - ') }] : [] }
  if (version === 4) {
    const reservations = numbers(hosts).map(host => {
      return { 'hw-address': macOf(host), 'ip-address': addressOf(host, 4), hostname: `h${host}` }
    })
    const options4 = [
      { name: 'domain-name-servers', data: server },
      { name: 'routers', data: server },
    ]
    return {
      Dhcp4: {
        ...common,
        'interfaces-config': { interfaces: [serverInterface], 'dhcp-socket-type': 'raw' },
        'host-reservation-identifiers': ['hw-address'],
        'option-data': options4,
        subnet4: [{ ...subnet, reservations }],
      },
    }
  }
  const reservations = numbers(hosts).map(host => {
    return { duid: duidOf(host), 'ip-addresses': [addressOf(host, 6)], hostname: `h${host}` }
  })
  return {
    Dhcp6: {
      ...common,
      'data-directory': folder,
      // The address is for relays.
      'interfaces-config': { interfaces: [serverInterface, `${serverInterface}/${server}`] },
      'host-reservation-identifiers': ['duid'],
      'option-data': [{ name: 'dns-servers', data: server }],
      'preferred-lifetime': 2250,
      subnet6: [{ ...subnet, interface: serverInterface, reservations }],
    },
  }
}

const databaseOf = ({ name, socket_folder, postgres }: KeaDatabase) => {
  const where = { host: socket_folder, port: postgres.port, user: databaseUser }
  return { type: 'postgresql', name, ...where }
}

/** Kea under load, with so many threads. */
export function keaServer(given: {
  name: string
  lab: Lab
  population: Population
  threads: number
  database?: KeaDatabase
}): DhcpServer {
  const { name, lab, population, threads, database } = given
  return {
    name,
    takes: load => load.clients !== 'automatic',
    async start(load) {
      if (database) await query(database.url, forgetLeases)
      const hosts = hostsOf(load, population)
      const started = startKea(lab, {
        version: load.version,
        threads,
        hosts,
        has_pool: true,
        ...(database && { lease_database: database }),
      })
      return {
        pids: {
          server: started.child.pid ?? 0,
          ...(database && { database: database.pid }),
        },
        first: 0,
        expects: hosts > 0,
        failure: () => (started.isRunning() ? null : `${name} has ended: ${started.said()}`),
        stop: started.stop,
      }
    },
  }
}

const forgetLeases = 'truncate lease4, lease4_stat, lease6, lease6_stat'

/** Hosts in a database of Kea, as it looks them up: hardware addresses are of type 0. */
export async function insertKeaHosts(
  { url }: KeaDatabase,
  { first, count }: { first: number; count: number },
): Promise<void> {
  await query(url, insertHosts, [
    numbers(count).map(n => macOf(first + n).replaceAll(':', '')),
    numbers(count).map(n => addressOf(first + n, 4)),
  ])
}

const insertHosts = `
  insert into hosts (dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, ipv4_address)
  select decode(mac, 'hex'), 0, 1, address::inet - '0.0.0.0'
  from unnest($1::text[], $2::text[]) as host (mac, address)`

/** Kea with many hosts: in its configuration, or in a database, where rows may be added. */
export function sizedKea({ lab, database }: { lab: Lab; database?: KeaDatabase }): SizedServer {
  let hosts = 0
  const name = database ? 'kea, hosts in PostgreSQL' : 'kea, hosts in its configuration'
  return {
    name,
    keeps: false,
    async prepare(count) {
      hosts = count
      if (database) await insertKeaHosts(database, { first: 0, count })
    },
    async start() {
      const started = startKea(lab, {
        version: 4,
        threads: 2,
        hosts: database ? 0 : hosts,
        has_pool: false,
        ...(database && { host_database: database }),
      })
      return {
        pids: { server: started.child.pid ?? 0 },
        first: 0,
        expects: true,
        failure: () => (started.isRunning() ? null : `${name} has ended: ${started.said()}`),
        stop: started.stop,
      }
    },
    add: database ? client => insertKeaHosts(database, { first: client, count: 1 }) : null,
  }
}
