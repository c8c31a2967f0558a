import { expect, inject } from 'vitest'
import type { Allocation } from '../../src/resources/allocations/schema.ts'
import type { Block } from '../../src/resources/blocks/schema.ts'
import type { Interface } from '../../src/resources/interfaces/schema.ts'
import type { Network } from '../../src/resources/networks/schema.ts'
import { createDatabase, dropDatabase } from './direct-sql.ts'
import { findFreePort } from './free-port.ts'
import { type Answer, HttpClient } from './http-client.ts'
import { adminToken, runAudit, ServerProcess } from './server-process.ts'

type Hold = Allocation & { readonly expires_at: string | null }
type Leased = {
  readonly id: string
  readonly allocation_id: string
  readonly address: string
  readonly mac_address: string | null
  readonly duid: string | null
  readonly state: 'bound' | 'released' | 'declined'
  readonly host_name: string | null
  readonly started_at: string
  readonly told_at: string
  readonly ends_at: string | null
  readonly relay: { readonly address: string; readonly circuit_id: string | null } | null
}

/** A real API on PostgreSQL that a test can kill, and what tests of discovery make in it. */
export class Cloud {
  readonly url: string
  /** A token of role `service` of the whole system. */
  serviceToken = ''
  readonly #database: string
  readonly #port: number
  readonly #http: HttpClient
  #server: ServerProcess | undefined

  private constructor(database: string, port: number) {
    this.#database = database
    this.#port = port
    this.url = `http://127.0.0.1:${port}`
    this.#http = new HttpClient(this.url, { 'x-auth-token': adminToken })
  }

  static async open(): Promise<Cloud> {
    const database = await createDatabase(inject('postgresUrl'), inject('template'))
    const cloud = new Cloud(database, await findFreePort())
    await cloud.start()
    const wanted = { name: 'dhcp', system_scope: 'all', roles: ['service'] }
    cloud.serviceToken = (await cloud.make<{ secret: string }>('/v2/tokens', wanted)).secret
    return cloud
  }

  async start(): Promise<void> {
    this.#server = await ServerProcess.start({
      DATABASE_URL: this.#database,
      MELANGE_LISTEN: `127.0.0.1:${this.#port}`,
    })
  }

  /** Ends the API without any notice; `start` brings it back. */
  async kill(): Promise<void> {
    await this.#server?.kill9()
  }

  /** Ends it. @throws if the audit finds that its data are wrong */
  async close(): Promise<void> {
    this.#http.close()
    if (this.#server?.isRunning) await this.#server.kill9()
    const { differences } = await runAudit({ DATABASE_URL: this.#database })
    expect(differences).toEqual([])
    await dropDatabase(this.#database)
  }

  request<T>(method: string, path: string, body?: object): Promise<Answer<T>> {
    return this.#http.request<T>({ method, path, body })
  }

  async #expect<T>(statuses: readonly number[], method: string, path: string, body?: object) {
    const answer = await this.request<T>(method, path, body)
    if (!statuses.includes(answer.status)) {
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
    }
    return answer.body
  }

  make<T>(path: string, body: object): Promise<T> {
    return this.#expect<T>([201], 'POST', path, body)
  }
  read<T>(path: string): Promise<T> {
    return this.#expect<T>([200], 'GET', path)
  }
  change<T>(path: string, body: object): Promise<T> {
    return this.#expect<T>([200], 'PATCH', path, body)
  }
  async remove(path: string): Promise<void> {
    await this.#expect([200, 204], 'DELETE', path)
  }

  async scope(name: string): Promise<string> {
    return (await this.make<{ id: string }>('/v2/address-scopes', { name, project_id: 'red' })).id
  }
  network(body: object): Promise<Network> {
    return this.make('/v2/networks', { project_id: 'red', ...body })
  }
  block(body: object): Promise<Block> {
    return this.make('/v2/blocks', body)
  }
  interface(network_id: string, body: object): Promise<Interface> {
    return this.make('/v2/interfaces', { project_id: 'red', network_id, ...body })
  }
  async allocate(body: object): Promise<Allocation> {
    const made = await this.make<{ allocations: Allocation[] }>('/v2/allocations', {
      project_id: 'red',
      ...body,
    })
    const [allocation] = made.allocations
    if (!allocation) throw new Error('nothing was allocated')
    return allocation
  }
  /** Sets an option on a thing, as `networks/ID`. */
  async option(on: string, version: 4 | 6, name: string, value: unknown): Promise<void> {
    await this.#expect([200, 201], 'PUT', `/v2/${on}/dhcp-options/${version}/${name}`, { value })
  }
  async policy(rules: object): Promise<string> {
    return (await this.make<{ id: string }>('/v2/policies', { name: 'of the test', rules })).id
  }

  /** What clients hold that nobody told of. */
  async held(owner_id: string): Promise<Hold[]> {
    const query = `owner_type=dhcp_client&owner_id=${encodeURIComponent(owner_id)}`
    return (await this.read<{ allocations: Hold[] }>(`/v2/allocations?${query}`)).allocations
  }
  /** Who has an address. */
  async holding(address: string): Promise<Hold[]> {
    return (await this.read<{ allocations: Hold[] }>(`/v2/allocations?address=${address}`))
      .allocations
  }
  /** Leases, as far as they are known, of one page. */
  async leases(query: string): Promise<Leased[]> {
    return (await this.read<{ leases: Leased[] }>(`/v2/leases?limit=1000&${query}`)).leases
  }
  async events(type: string): Promise<{ type: string; data: Record<string, unknown> }[]> {
    type Page = { events: { type: string; data: Record<string, unknown> }[]; cursor: string }
    const found: Page['events'] = []
    for (let after = '0'; ; ) {
      const page: Page = await this.read<Page>(`/v2/events?after=${after}&limit=1000`)
      found.push(...page.events.filter(event => event.type === type))
      if (page.events.length === 0) return found
      after = page.cursor
    }
  }
}
