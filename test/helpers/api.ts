import type { InjectOptions } from 'fastify'
import type { Static } from 'typebox'
import { Value } from 'typebox/value'
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest'
import { type AppOptions, buildApp } from '../../src/app.ts'
import { audit } from '../../src/audit/store.ts'
import { Config } from '../../src/config.ts'
import type { OpenDatabase } from '../../src/db/database.ts'
import type { Conflict } from '../../src/errors.ts'
import { loadPolicy } from '../../src/policy/file.ts'
import type { AddressScope } from '../../src/resources/address-scopes/schema.ts'
import type { Allocation, AllocationRequest } from '../../src/resources/allocations/schema.ts'
import type { BlockRoute } from '../../src/resources/block-routes/schema.ts'
import type {
  Block,
  BlockRequest,
  ChildrenRequest,
  Utilisation,
} from '../../src/resources/blocks/schema.ts'
import type { BlockConfiguration, DhcpOption } from '../../src/resources/dhcp-options/schema.ts'
import type { Event } from '../../src/resources/events/routes.ts'
import type { FloatingIp, FloatingIpAssociation } from '../../src/resources/floating-ips/schema.ts'
import type { Grant, GrantUsage } from '../../src/resources/grants/schema.ts'
import type { NatMapping } from '../../src/resources/nat-mappings/schema.ts'
import type { Network, NetworkUtilisation } from '../../src/resources/networks/schema.ts'
import type { Policy, PolicyRulesRequest } from '../../src/resources/policies/schema.ts'
import type { QuarantinedAddress } from '../../src/resources/quarantine/schema.ts'
import type { CreatedToken, Token } from '../../src/resources/tokens/schema.ts'
import { contractOf } from './contract.ts'
import { emptyDatabase, newDatabase } from './databases.ts'

/** Whatever an answer may hold; a test reads the members that it expects. */
export type Body = Block &
  Allocation &
  AddressScope &
  Network &
  FloatingIp &
  NatMapping &
  Static<typeof CreatedToken> &
  NetworkUtilisation &
  Utilisation & {
    address_scopes: AddressScope[]
    networks: Network[]
    floating_ips: FloatingIp[]
    nat_mappings: NatMapping[]
    tokens: Token[]
    grants: Grant[]
    usage: GrantUsage[]
    associations: FloatingIpAssociation[]
    blocks: Block[]
    routes: BlockRoute[]
    dhcp_options: DhcpOption[]
    options: BlockConfiguration['options']
    allocations: Allocation[]
    free_ranges: { first: string; last: string; size: string }[]
    free_prefixes: string[]
    events: Static<typeof Event>[]
    cursor: string
    lapsed: Allocation[]
    quarantine: QuarantinedAddress[]
    ended: number
    more: boolean
    next_marker: string | null
    links: { rel: string; href: string }[]
  } & Problem
type Problem = {
  code: string
  title: string
  detail: string
  advice: string
  field?: string
  suggestion?: string
  conflicts?: Conflict[]
}

export type Answer = {
  readonly status: number
  readonly body: Body
  readonly headers: Readonly<Record<string, unknown>>
}

export const adminToken = 'the-token-of-the-tests'

const rules = loadPolicy(undefined)
const settings = Value.Default(Config, {}) as Static<typeof Config>
const defaults = {
  version: '0.0.0',
  admin_token: adminToken,
  allocator: { lanes: 2, batch_max: 256, waiting_max: 10_000 },
  tokens: { cache_seconds: 10, cache_max: 100 },
  api: settings.api,
  proxies: settings.proxies,
  rates: settings.rates,
  melange_v1: settings.melange_v1,
  leases: settings.leases,
  // What is refused in one test is not to be written in another.
  audit_trail: { ...settings.audit_trail, wait_seconds: 60 },
  oidc: settings.oidc,
  keystone: settings.keystone,
  openstack: {},
  rules: () => rules,
}

/** An API over a database of its own; its answers are held against its OpenAPI document. */
export class Api {
  app!: Awaited<ReturnType<typeof buildApp>>
  db!: OpenDatabase
  #check!: ReturnType<typeof contractOf>

  async open(options: Partial<AppOptions> = {}): Promise<this> {
    this.db = options.db ?? (await newDatabase())
    this.app = await buildApp({ ...defaults, ...options, db: this.db })
    this.#check = contractOf(this.app)
    return this
  }

  async close(): Promise<void> {
    await this.app.close()
    await this.db.close()
  }

  /** Sends a request just as it is, without a token of its own. */
  async send(request: InjectOptions & { method: string; url: string }): Promise<Answer> {
    const { statusCode: status, headers, payload } = await this.app.inject(request)
    const media = headers['content-type']?.toString().split(';')[0]
    const body = payload === '' ? null : JSON.parse(payload)
    this.#check(request.method, request.url, { status, body, media, headers })
    return { status, body, headers }
  }

  request(
    method: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE',
    url: string,
    payload?: object,
    more: Readonly<Record<string, string>> = {},
  ) {
    const headers = { 'x-auth-token': adminToken, ...more }
    return this.send({ method, url, headers, ...(payload && { payload }) })
  }

  readonly get = (url: string) => this.request('GET', url)
  readonly post = (url: string, payload: object) => this.request('POST', url, payload)
  readonly put = (url: string, payload: object) => this.request('PUT', url, payload)
  readonly patch = (url: string, payload: object) => this.request('PATCH', url, payload)
  readonly delete = (url: string) => this.request('DELETE', url)

  /** Creates a block at the top of the public scope, unless told otherwise. */
  async createBlock(cidr: string, settings: Partial<BlockRequest> = {}): Promise<Block> {
    const place = settings.parent_id ? {} : { scope_id: 'public' }
    return expectStatus(201, await this.post('/v2/blocks', { ...place, cidr, ...settings }))
  }

  async createNetworks(): Promise<void> {
    for (const id of networks) expectStatus(201, await this.post('/v2/networks', { id }))
  }

  async createPolicy(name: string, rules: PolicyRulesRequest): Promise<Policy> {
    const { body, status } = await this.post('/v2/policies', { name, rules })
    if (status !== 201) throw new Error(`not 201: ${JSON.stringify(body)}`)
    return body as unknown as Policy
  }

  /** Cuts children from a block. */
  async cut(block: Block, request: ChildrenRequest): Promise<Block[]> {
    return expectStatus(201, await this.post(`/v2/blocks/${block.id}/children`, request)).blocks
  }

  /** What a request for allocations is answered; the project is `red`, unless told otherwise. */
  ask(block: Pick<Block, 'id'>, request: Partial<AllocationRequest> = {}): Promise<Answer> {
    return this.post('/v2/allocations', { block_id: block.id, project_id: 'red', ...request })
  }

  async allocate(block: Pick<Block, 'id'>, request: Partial<AllocationRequest> = {}) {
    return expectStatus(201, await this.ask(block, request)).allocations
  }

  /** Allocates one address or prefix. */
  async allocateOne(block: Pick<Block, 'id'>, request: Partial<AllocationRequest> = {}) {
    const [allocation, ...more] = await this.allocate(block, request)
    if (!allocation || more.length > 0) throw new Error('not one allocation')
    return allocation
  }

  async release({ id }: Pick<Allocation, 'id'>): Promise<Allocation> {
    return expectStatus(200, await this.delete(`/v2/allocations/${id}`))
  }

  async utilisation({ id }: Pick<Block, 'id'>): Promise<Utilisation> {
    return expectStatus(200, await this.get(`/v2/blocks/${id}/utilisation`))
  }

  /** The free space of a block, each range as first-last. */
  async freeRanges({ id }: Pick<Block, 'id'>): Promise<string[]> {
    const answer = await this.get(`/v2/blocks/${id}/free-ranges?limit=1000`)
    return expectStatus(200, answer).free_ranges.map(({ first, last }) => `${first}-${last}`)
  }

  /** The items of all pages of a list, read one after the other; `between` is done after each. */
  async pages<
    K extends
      | 'networks'
      | 'floating_ips'
      | 'nat_mappings'
      | 'associations'
      | 'blocks'
      | 'routes'
      | 'dhcp_options'
      | 'allocations'
      | 'free_ranges'
      | 'free_prefixes'
      | 'quarantine'
      | 'tokens',
  >(
    key: K,
    url: string,
    between: () => Promise<unknown> = async () => undefined,
  ): Promise<Body[K][]> {
    const pages: Body[K][] = []
    for (let next: string | undefined = url; next; ) {
      const { [key]: items, links }: Body = expectStatus(200, await this.get(next))
      pages.push(items)
      next = links[0]?.href
      await between()
    }
    return pages
  }
}

/** The body of an answer that has to have this status. */
export function expectStatus(status: number, answer: Answer): Body {
  if (answer.status !== status) throw new Error(`not ${status}: ${JSON.stringify(answer)}`)
  return answer.body
}

/** The networks that `api.createNetworks` makes. */
export const networks = [
  '00000000-0000-7000-8000-00000000000a',
  '00000000-0000-7000-8000-00000000000b',
] as const

/** Expects a problem; `facts` may be any of its members. */
export function expectProblem(answer: Answer, code: string, facts: object = {}): void {
  expect(answer.body).toMatchObject({ code, ...facts })
}

/**
 * The API on a database of its own, emptied before each test, and after each test without a
 * difference that `melange audit` would find.
 */
export function useApi(options: Partial<AppOptions> = {}): Api {
  const api = new Api()

  beforeAll(async () => {
    await api.open(options)
  })
  beforeEach(() => emptyDatabase(api.db))
  afterEach(async () => {
    expect((await audit(api.db)).differences).toEqual([])
  })
  afterAll(() => api.close())
  return api
}
