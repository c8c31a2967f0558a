import { readFileSync } from 'node:fs'
import { type Static, type TProperties, Type } from 'typebox'
import { Value } from 'typebox/value'
import { parse } from 'yaml'
import { oidcSettings, repeatedIssuer } from './oidc-config.ts'
import {
  apiSettings,
  proxySettings,
  rateSettings,
  serverProblem,
  tlsSettings,
} from './server-config.ts'

const section = <P extends TProperties>(description: string, properties: P) =>
  Type.Object(properties, { additionalProperties: false, description, default: {} })

const positive = (value: number, description: string, maximum = 1_000_000) =>
  Type.Integer({ default: value, minimum: 1, maximum, description })

const seconds = (value: number, description: string) =>
  Type.Integer({ default: value, minimum: 0, maximum: 86_400, description })

const text = (description: string) =>
  Type.Optional(Type.String({ minLength: 1, maxLength: 4096, description }))

/** Everything that can be set, with its default; docs/configuration.md is made of it. */
export const Config = Type.Object(
  {
    listen: Type.String({
      default: '127.0.0.1:9898',
      pattern: '^(\\[[0-9a-fA-F:.]+\\]|[^:\\s]+):[0-9]{1,5}$',
      description:
        'Address and port of the API; port 0 takes a free one. Environment: MELANGE_LISTEN.',
    }),
    data_dir: Type.String({
      default: 'melange-data',
      minLength: 1,
      description:
        'Folder of the embedded database; without `database.url`. Environment: MELANGE_DATA_DIR.',
    }),
    database: section('PostgreSQL, 15 or newer; the embedded database if there is no `url`.', {
      url: Type.Optional(
        Type.String({
          pattern: '^postgres(ql)?://',
          description:
            'For instance postgres://melange@db.example/melange. Environment: DATABASE_URL.',
        }),
      ),
      connections_max: positive(10, 'Connections of one process to the server.', 1000),
      connect_timeout_seconds: positive(10, 'How long a connection may take to be made.', 600),
      statement_timeout_seconds: positive(30, 'How long a statement of the API may take.', 3600),
    }),
    allocator: section('How concurrent requests share transactions.', {
      lanes: positive(2, 'Batches of one kind that may run side by side.', 64),
      batch_max: positive(
        256,
        'Addresses that one transaction takes, unless one request wants more.',
        4096,
      ),
      waiting_max: positive(10_000, 'Requests that may wait before others get 503 `overloaded`.'),
    }),
    api: apiSettings,
    tls: tlsSettings,
    proxies: proxySettings,
    rates: rateSettings,
    tokens: section('Tokens of our own: docs/guides/tokens.md.', {
      cache_seconds: positive(
        10,
        'How long what is known of one is remembered; one that another server revoked is worth something for as long.',
        3600,
      ),
      cache_max: positive(10_000, 'Of how many tokens something is remembered.'),
      keep_days: positive(
        90,
        'After how many days a token that was revoked or has expired is removed from the list.',
        36_500,
      ),
    }),
    oidc: oidcSettings,
    policy: section('Who may do what: docs/policy.md.', {
      file: Type.Optional(
        Type.String({
          minLength: 1,
          description:
            'YAML file with rules that differ from the defaults. A change of it is seen within a second.',
        }),
      ),
    }),
    holds: section('The end of holds, and of quarantines.', {
      sweep_seconds: Type.Number({
        default: 1,
        minimum: 0.01,
        maximum: 3600,
        description: 'Rest between two looks for what has lapsed.',
      }),
    }),
    leases: section('What servers report of the leases of machines: docs/guides/leases.md.', {
      declined_seconds: positive(
        3600,
        'How long an address is told to nobody, or waits at least, that a machine found in use.',
        31_536_000,
      ),
      retention_days: positive(400, 'After how many days a lease that ended is removed.', 36_500),
    }),
    events: section('The record of changes that `/v2/events` reads.', {
      retention_days: positive(
        30,
        'After how many days events are removed; history is kept.',
        36_500,
      ),
    }),
    audit_trail: section('Who did what: docs/guides/audit-trail.md.', {
      keep_days: positive(
        90,
        'After how many days what was refused is removed; what was done goes with its event.',
        36_500,
      ),
      waiting_max: positive(
        200,
        'How many refusals that differ may wait to be written; more are counted, and not noted.',
        100_000,
      ),
      wait_seconds: Type.Number({
        default: 1,
        minimum: 0.01,
        maximum: 60,
        description: 'How long they wait for others that are alike, and are counted with them.',
      }),
    }),
    idempotency: section('What is remembered of writes that bear an `Idempotency-Key`.', {
      keep_hours: positive(24, 'For how many hours a repeated one gets the first answer.', 8760),
    }),
    utilisation: section('What is remembered of how full blocks and networks were.', {
      sample_seconds: positive(
        300,
        'How often the counts are looked at; a sample is kept of what has changed.',
        86_400,
      ),
      retention_days: positive(400, 'After how many days a sample that ended is removed.', 36_500),
    }),
    melange_v1: section('The API of the original Melange, v0.1 and v1.0: docs/melange-v1.md.', {
      dns1: Type.String({
        default: '8.8.8.8',
        maxLength: 255,
        description: 'First name server of blocks that name none.',
      }),
      dns2: Type.String({ default: '8.8.4.4', maxLength: 255, description: 'And the second.' }),
      keep_deallocated_ips: Type.Boolean({
        default: false,
        description:
          'Whether addresses that are given back through their network wait as others do.',
      }),
      keep_deallocated_ips_for_days: Type.Integer({
        default: 2,
        minimum: 0,
        maximum: 3650,
        description: 'How long an address of a new block waits, if no policy says how long.',
      }),
      default_cidr: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: 49,
          description:
            'The block that a network gets which has none when addresses are asked of it.',
        }),
      ),
      ip_allocation_retries: positive(
        5,
        'How often a request is tried that lost a name to another one.',
        100,
      ),
      ipv6_generator: Type.Union([Type.Literal('tenant'), Type.Literal('eui64')], {
        default: 'tenant',
        description: 'How new blocks make IPv6 addresses, if no policy says how.',
      }),
      page_size: positive(200, 'Entries of a list, where the request has no `limit`.', 10_000),
      extensions: Type.Boolean({
        default: false,
        description: 'Whether there is the (empty) list of extensions.',
      }),
      identity_headers: Type.Boolean({
        default: false,
        description:
          'Whether X-Tenant and X-Role of a proxy, which has the token, restrict what a request may do. Not with Keystone.',
      }),
    }),
    keystone: section('OpenStack Identity as an authority for tokens: docs/keystone.md.', {
      enabled: Type.Boolean({
        default: false,
        description: "Whether Keystone's tokens count. Environment: MELANGE_KEYSTONE.",
      }),
      cloud: text('The cloud of clouds.yaml that has what is not set here. Environment: OS_CLOUD.'),
      auth_type: text('`password` or `v3applicationcredential`; else what the credentials are.'),
      auth_url: Type.Optional(
        Type.String({
          pattern: '^https?://[^"\\s]+$',
          description: 'Where Melange gets its own token, with or without /v3.',
        }),
      ),
      www_authenticate_uri: Type.Optional(
        Type.String({
          pattern: '^https?://[^"\\s]+$',
          description: 'Where clients without a token are sent; without it `auth_url`.',
        }),
      ),
      username: text("Name of Melange's own user, who needs the role `service`."),
      user_id: text('Its id, instead of name and domain.'),
      user_domain_name: text('Its domain.'),
      user_domain_id: text('Its domain.'),
      password: text('Its password; better OS_PASSWORD or secure.yaml.'),
      project_name: text('The project in which it has the role.'),
      project_id: text('The id of that project, instead of name and domain.'),
      project_domain_name: text('The domain of that project.'),
      project_domain_id: text('The domain of that project.'),
      domain_name: text('The domain in which it has the role, instead of a project.'),
      domain_id: text('The id of that domain.'),
      system_scope: text('`all`, if it has the role in the system.'),
      application_credential_id: text('An application credential, instead of a password.'),
      application_credential_name: text('Its name, instead of its id, with the user.'),
      application_credential_secret: text('Its secret; better in the environment.'),
      region: text('Region of the identity service, where `interface` is set.'),
      interface: text(
        '`public`, `internal` or `admin`: validate at this URL of the catalogue, not at `auth_url`.',
      ),
      cafile: text("File of certificates (PEM) to trust instead of the system's."),
      insecure: Type.Optional(
        Type.Boolean({ description: 'Whether no certificate is checked: only for tests.' }),
      ),
      timeout_seconds: positive(5, 'How long Keystone may take for an answer.', 300),
      service_type: Type.String({
        default: 'ipam',
        minLength: 1,
        maxLength: 255,
        description: 'Type of this service in the catalogue, and in access rules.',
      }),
      service_token_roles: Type.Array(Type.String({ minLength: 1, maxLength: 255 }), {
        default: ['service'],
        minItems: 1,
        maxItems: 100,
        description: 'A service token must have one of these roles.',
      }),
      token_cache_seconds: seconds(
        300,
        'How long an answer is believed, so how late the end of a revoked token may be; 0 asks for each request.',
      ),
      token_cache_max: positive(10_000, 'Of how many tokens.'),
      negative_cache_seconds: seconds(10, 'How long a refusal is believed; 0 asks each time.'),
      negative_cache_max: positive(10_000, 'Of how many tokens.'),
      stale_seconds: seconds(
        3600,
        'How much longer an answer is believed while Keystone is away, at most until the token expires.',
      ),
      validations_max: positive(16, 'Of how many tokens Keystone is asked at a time.', 1000),
      waiting_max: positive(1000, 'How many tokens may wait before others get 503.', 100_000),
    }),
    log_level: Type.Union(
      (['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const).map(level =>
        Type.Literal(level),
      ),
      { default: 'info', description: 'What is logged, as JSON lines on standard output.' },
    ),
  },
  { $id: 'melange-config', additionalProperties: false, description: 'Configuration of Melange.' },
)

/** Everything that can be set, and what is only read from the environment. */
export type Config = Static<typeof Config> & {
  readonly admin_token: string | undefined
  /** What OpenStack's clients read of the environment: OS_*, and where their files are. */
  readonly openstack: Environment
}

/** The configuration is not usable; the message says why in one line. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

type Environment = Readonly<Record<string, string | undefined>>

/**
 * The configuration of this process: defaults, under the YAML file (`--config`, else MELANGE_CONFIG),
 * under the environment.
 *
 * @throws {ConfigError}
 */
export function loadConfig(file?: string, environment: Environment = process.env): Config {
  const { MELANGE_CONFIG, MELANGE_LISTEN, MELANGE_DATA_DIR, MELANGE_ADMIN_TOKEN, DATABASE_URL } =
    environment
  const { MELANGE_KEYSTONE } = environment
  const path = file ?? MELANGE_CONFIG
  const settings = path ? readSettings(path) : {}
  const value = Value.Default(Config, structuredClone(settings)) as Static<typeof Config>
  const overridden = {
    ...value,
    ...(MELANGE_LISTEN && { listen: MELANGE_LISTEN }),
    ...(MELANGE_DATA_DIR && { data_dir: MELANGE_DATA_DIR }),
    ...(DATABASE_URL && { database: { ...value.database, url: DATABASE_URL } }),
    ...(MELANGE_KEYSTONE && {
      keystone: { ...value.keystone, enabled: readBoolean('MELANGE_KEYSTONE', MELANGE_KEYSTONE) },
    }),
  }
  const [problem] = Value.Errors(Config, overridden)
  if (problem) {
    const name = problem.instancePath.slice(1).replaceAll('/', '.') || 'the configuration'
    throw new ConfigError(`${name} ${problem.message} (see docs/configuration.md)`)
  }
  const twice = repeatedIssuer(overridden.oidc)
  if (twice !== undefined) throw new ConfigError(`oidc.issuers has ${twice} twice`)
  const unusable = serverProblem(overridden)
  if (unusable !== null) throw new ConfigError(unusable)
  if (overridden.keystone.enabled && overridden.melange_v1.identity_headers) {
    throw new ConfigError(
      'melange_v1.identity_headers believes a proxy, and keystone.enabled nobody: choose one',
    )
  }
  const openstack = Object.fromEntries(
    Object.entries(environment).filter(([name]) => /^(OS_.*|HOME|XDG_CONFIG_HOME)$/.test(name)),
  )
  return { ...overridden, admin_token: MELANGE_ADMIN_TOKEN || undefined, openstack }
}

function readBoolean(name: string, value: string): boolean {
  if (value === 'true' || value === 'false') return value === 'true'
  throw new ConfigError(`${name} must be true or false`)
}

function readSettings(path: string): object {
  try {
    const settings: unknown = parse(readFileSync(path, 'utf8')) ?? {}
    if (typeof settings === 'object' && settings !== null && !Array.isArray(settings))
      return settings
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split('\n')[0] : String(cause)
    throw new ConfigError(`${path}: ${reason}`, { cause })
  }
  throw new ConfigError(`${path} must be a YAML mapping`)
}

/** Host and port of a listen address. */
export function splitListen(listen: string): { host: string; port: number } {
  const colon = listen.lastIndexOf(':')
  const host = listen.slice(0, colon).replace(/^\[|\]$/g, '')
  return { host, port: Number(listen.slice(colon + 1)) }
}
