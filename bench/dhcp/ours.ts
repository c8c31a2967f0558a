import { cpSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { findFreePort } from '../../test/helpers/free-port.ts'
import { say } from '../measure.ts'
import { type BenchServer, startServer } from '../setup.ts'
import type { Database } from './database.ts'
import { addressOf, duidOf, macOf, numbers } from './hosts.ts'
import { type Lab, type Started, segment, serverInterface } from './lab.ts'
import type { Load } from './load.ts'
import type { DhcpServer, Population, RunningServer } from './servers.ts'
import type { SizedServer } from './sizes.ts'

const program = fileURLToPath(new URL('../../dist/main.js', import.meta.url))
const project_id = 'measured'
/** Interfaces of a device, which one call makes. */
const callSize = 64
const connections = 8
const patienceMs = 120_000
const readyMs = 120_000

/** The API of Melange, with what `melange dhcp` needs of it. */
export class Api {
  readonly pids: { readonly api: number; readonly database: number }
  readonly databaseUrl: string
  readonly url: string
  readonly #server: BenchServer
  #networks = 0
  /** Of the role `service`. */
  #token = ''

  private constructor(server: BenchServer, databaseUrl: string, database: number) {
    this.#server = server
    this.url = server.url
    this.databaseUrl = databaseUrl
    this.pids = { api: server.pid, database }
  }

  static async start({ postgres, pid }: Database): Promise<Api> {
    const databaseUrl = await postgres.createDatabase('melange')
    const environment = { DATABASE_URL: databaseUrl }
    const server = await startServer({ kind: 'melange', environment })
    const api = new Api(server, databaseUrl, pid)
    const { secret } = await api.#post<{ secret: string }>('tokens', {
      name: 'network-node',
      system_scope: 'all',
      roles: ['service'],
    })
    api.#token = secret
    return api
  }

  get token(): string {
    return this.#token
  }

  close(): Promise<void> {
    return this.#server.close()
  }

  /** A network with so many hosts, in an address scope of its own; returns its id. */
  async makeNetwork(wish: {
    hosts: number
    versions: readonly (4 | 6)[]
    /** Whether those who are unknown get an address. */
    is_open: boolean
  }): Promise<string> {
    const name = `network-${++this.#networks}`
    const scope = await this.#post<{ id: string }>('address-scopes', { project_id, name })
    const network = await this.#post<{ id: string }>('networks', { project_id, name })
    const policy = wish.is_open
      ? await this.#post<{ id: string }>('policies', {
          project_id,
          name,
          rules: { unknown_clients: { lease_seconds: 3600 } },
        })
      : null
    for (const version of wish.versions) {
      const { cidr, server } = segment[version]
      await this.#post('blocks', {
        scope_id: scope.id,
        network_id: network.id,
        cidr,
        gateway_ip: server,
        dns_nameservers: [server],
        ...(policy && { policy_id: policy.id }),
      })
    }
    await this.#makeHosts(name, network.id, wish)
    return network.id
  }

  /** One more host, as a cloud would tell of it. */
  async addHost(network_id: string, client: number): Promise<void> {
    await this.#post('interfaces', {
      project_id,
      device_id: `more-${client}`,
      ...interfaceOf(network_id, client, [4]),
    })
  }

  async #makeHosts(
    name: string,
    network_id: string,
    { hosts, versions }: { hosts: number; versions: readonly (4 | 6)[] },
  ): Promise<void> {
    if (hosts === 0) return
    const started = performance.now()
    let next = 0
    const makeSome = async () => {
      while (next < hosts) {
        const first = next
        next += callSize
        const interfaces = numbers(Math.min(callSize, hosts - first)).map(n =>
          interfaceOf(network_id, first + n, versions),
        )
        const path = `devices/${name}-${first}/interfaces`
        await this.#send('PUT', path, { project_id, interfaces })
      }
    }
    await Promise.all(numbers(connections).map(makeSome))
    say(`${hosts} interfaces made in ${Math.round((performance.now() - started) / 1000)} s`)
  }

  #post<Answer>(path: string, body: object): Promise<Answer> {
    return this.#send('POST', path, body)
  }

  async #send<Answer>(method: 'POST' | 'PUT', path: string, body: object): Promise<Answer> {
    const response = await fetch(`${this.#server.url}/v2/${path}`, {
      method,
      headers: { 'content-type': 'application/json', 'x-auth-token': this.#server.token },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(patienceMs),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${text}`)
    return JSON.parse(text) as Answer
  }
}

function interfaceOf(network_id: string, client: number, versions: readonly (4 | 6)[]): object {
  return {
    network_id,
    mac_address: macOf(client),
    // On the link all clients have the one address of the generator, and so one MAC.
    ...(versions.includes(6) && { duid: duidOf(client).replaceAll(':', ''), iaid: 1 }),
    addresses: versions.map(version => addressOf(client, version)),
  }
}

type Process = {
  readonly lab: Lab
  readonly api: Api
  readonly network_id: string
  readonly state_dir: string
  readonly durable_leases: boolean
  /** Of its status; any, if it does not matter. */
  readonly port?: number
}

/** Starts `melange dhcp` beside the namespaces: where its network is, it is told. */
function startProcess({ lab, api, network_id, state_dir, durable_leases, port }: Process): Started {
  const namespace = lab.servers
  const file = join(lab.folder, 'dhcp.yaml')
  const configuration = {
    name: 'bench',
    api: { url: api.url },
    state_dir,
    status: { listen: `127.0.0.1:${port ?? 0}` },
    driver: 'builtin',
    networks: [{ id: network_id, interface: serverInterface, namespace }],
    relay_listen: ([4, 6] as const).map(version => {
      return { address: segment[version].server, namespace }
    }),
    durable_leases,
  }
  writeFileSync(file, JSON.stringify(configuration)) // Which is YAML, too.
  return lab.start({
    command: [process.execPath, program, 'dhcp', '--config', file],
    environment: { MELANGE_TOKEN: api.token },
  })
}

function running(name: string, started: Started, { pids }: Api): RunningServer {
  return {
    pids: { server: started.child.pid ?? 0, ...pids },
    first: 0,
    expects: true,
    failure: () => (started.isRunning() ? null : `${name} has ended: ${started.said()}`),
    stop: started.stop,
  }
}

type NetworksGiven = {
  readonly lab: Lab
  readonly api: Api
  readonly population: Population
  /** Those that will be asked for. */
  readonly loads: readonly Load[]
}

type Kept = { readonly network_id: string; readonly state_dir: string }

/** The networks under load, each made when it is wanted first, and what a server knows of it then. */
export class OurNetworks {
  readonly #made = new Map<Load['clients'], Kept>()
  readonly #given: NetworksGiven

  constructor(given: NetworksGiven) {
    this.#given = given
  }

  async of({ clients }: Load): Promise<Kept> {
    const made = this.#made.get(clients) ?? (await this.#make(clients))
    this.#made.set(clients, made)
    return made
  }

  async #make(clients: Load['clients']): Promise<Kept> {
    const { lab, api, population, loads } = this.#given
    const uses = loads.filter(load => load.clients === clients)
    const versions = ([4, 6] as const).filter(one => uses.some(({ version }) => version === one))
    const hosts = {
      known: population.known,
      new: population.new + population.spare,
      automatic: 0,
    }[clients]
    const is_open = clients === 'automatic'
    const network_id = await api.makeNetwork({ hosts, versions, is_open })
    const state_dir = join(lab.folder, `kept-${clients}`)
    const port = await findFreePort()
    const started = startProcess({ lab, api, network_id, state_dir, durable_leases: true, port })
    try {
      await waitUntilReady(started, port)
    } finally {
      await started.stop()
    }
    return { network_id, state_dir }
  }
}

async function waitUntilReady(started: Started, port: number): Promise<void> {
  const deadline = performance.now() + readyMs
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => null)
    await answer?.body?.cancel()
    if (answer?.ok) return
    if (!started.isRunning()) throw new Error(`melange dhcp has ended: ${started.said()}`)
    if (performance.now() > deadline) throw new Error(`it is not ready: ${started.said()}`)
    await delay(50)
  }
}

/** Clients that have never asked before are numbered from here on. */
let strangers = 1_000_000

/** Ours under load: each trial begins with what it knew at first, and without leases. */
export function ourServer(given: {
  name: string
  lab: Lab
  api: Api
  networks: OurNetworks
  population: Population
  durable_leases: boolean
}): DhcpServer {
  const { name, lab, api, networks, population } = given
  return {
    name,
    takes: () => true,
    async start(load) {
      const kept = await networks.of(load)
      const state_dir = join(lab.folder, 'state')
      rmSync(state_dir, { recursive: true, force: true })
      cpSync(kept.state_dir, state_dir, { recursive: true })
      const { network_id } = kept
      const server = running(name, startProcess({ ...given, network_id, state_dir }), api)
      const isAutomatic = load.clients === 'automatic'
      const first = isAutomatic ? strangers : 0
      if (isAutomatic) strangers += population.new + population.spare
      return { ...server, first, expects: !isAutomatic }
    },
  }
}

/** Ours with many hosts; durable leases are the default. */
export function sizedOurs({ lab, api }: { lab: Lab; api: Api }): SizedServer {
  const state_dir = join(lab.folder, 'sized-state')
  let network_id = ''
  return {
    name: 'ours',
    keeps: true,
    async prepare(hosts) {
      rmSync(state_dir, { recursive: true, force: true })
      network_id = await api.makeNetwork({ hosts, versions: [4], is_open: false })
    },
    async start() {
      const started = startProcess({ lab, api, network_id, state_dir, durable_leases: true })
      return running('ours', started, api)
    },
    add: client => api.addHost(network_id, client),
  }
}
