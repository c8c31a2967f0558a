import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { type Static, type TProperties, Type } from 'typebox'
import { Value } from 'typebox/value'
import { parse } from 'yaml'
import { ConfigError } from '../config.ts'
import { dnsmasqSettings } from './dnsmasq/settings.ts'
import { keaSettings } from './kea/settings.ts'

const closed = <P extends TProperties>(properties: P, options: object = {}) =>
  Type.Object(properties, { additionalProperties: false, ...options })

const InterfaceName = Type.String({
  pattern: '^[^/\\s]{1,15}$',
  description: 'On which its machines are, as `ip link` names it; without one they come by relays.',
})
const NamespaceName = Type.String({
  pattern: '^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$',
  description: 'Network namespace, as `ip netns` names it; without one that of the process.',
})
const AddressText = Type.String({
  minLength: 2,
  maxLength: 45,
  description: 'An IPv4 or IPv6 address.',
})

/** Everything that can be set of `melange dhcp`; docs/dhcp-configuration.md is made of it. */
export const DiscoveryConfig = closed(
  {
    name: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 64,
        description: 'Of this server, in leases; the host name if left out.',
      }),
    ),
    api: closed(
      {
        url: Type.String({ pattern: '^https?://', description: 'Of the API, without /v2.' }),
        token_file: Type.Optional(
          Type.String({
            minLength: 1,
            description: 'File with a token of role `service`. Environment: MELANGE_TOKEN.',
          }),
        ),
        ca_file: Type.Optional(
          Type.String({
            minLength: 1,
            description: "File of certificates (PEM) to trust instead of the system's.",
          }),
        ),
      },
      { description: 'Where it learns what to serve, and reports leases.' },
    ),
    state_dir: Type.String({
      minLength: 1,
      default: 'melange-dhcp-data',
      description: 'Folder of what it knows and of leases on their way. For this process alone.',
    }),
    status: closed(
      {
        listen: Type.String({
          default: '127.0.0.1:9899',
          pattern: '^(\\[[0-9a-fA-F:.]+\\]|[^:\\s]+):[0-9]{1,5}$',
          description: 'Where /healthz, /readyz and /metrics are.',
        }),
      },
      { default: {}, description: 'How it fares.' },
    ),
    driver: Type.Union([Type.Literal('builtin'), Type.Literal('dnsmasq'), Type.Literal('kea')], {
      default: 'builtin',
      description: 'Who answers machines: Melange itself, or a server that it feeds.',
    }),
    networks: Type.Array(
      closed({
        id: Type.String({ format: 'uuid', description: 'Of the network.' }),
        interface: Type.Optional(InterfaceName),
        namespace: Type.Optional(NamespaceName),
        relays: Type.Array(
          closed({
            address: AddressText,
            circuit_id: Type.Optional(
              Type.String({
                pattern: '^(0x([0-9a-fA-F]{2})+|(?!0x).{1,255})$',
                description:
                  'What the relay calls the circuit (RFC 3046), or its Interface-Id: text, or hex behind 0x.',
              }),
            ),
          }),
          {
            default: [],
            maxItems: 1000,
            description:
              'From which relays its machines come. Without any it is found by the address of the relay, if only one network has that.',
          },
        ),
      }),
      { minItems: 1, maxItems: 4096, description: 'The networks that are served, and where.' },
    ),
    relay_listen: Type.Array(
      closed({ address: AddressText, namespace: Type.Optional(NamespaceName) }),
      {
        default: [],
        maxItems: 64,
        description: 'Own addresses to which relays send. They are believed there, and only there.',
      },
    ),
    lease_seconds: Type.Integer({
      default: 3600,
      minimum: 60,
      maximum: 31_536_000,
      description: 'How long a lease lasts where no option says so.',
    }),
    rapid_commit: Type.Boolean({
      default: false,
      description:
        'Whether two messages are enough for clients that ask for it (RFC 4039, RFC 8415 §18.3.1).',
    }),
    durable_leases: Type.Boolean({
      default: true,
      description:
        'Whether a lease is on the disk before the machine is told (builtin). Without it the last seconds are lost in a crash, not addresses.',
    }),
    dnsmasq: dnsmasqSettings,
    kea: keaSettings,
    log_level: Type.Union(
      (['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const).map(level =>
        Type.Literal(level),
      ),
      { default: 'info', description: 'What is logged, as JSON lines on standard output.' },
    ),
  },
  { $id: 'melange-dhcp-config', description: 'Configuration of `melange dhcp`.' },
)

/** What is set, and the token. */
export type DiscoveryConfig = Static<typeof DiscoveryConfig> & {
  readonly name: string
  readonly token: string
}

type Environment = Readonly<Record<string, string | undefined>>

/**
 * The configuration of `melange dhcp`: its YAML file, with defaults.
 *
 * @throws {ConfigError}
 */
export function loadDiscoveryConfig(
  path: string | undefined,
  environment: Environment = process.env,
): DiscoveryConfig {
  if (path === undefined) {
    throw new ConfigError('melange dhcp needs a file: --config dhcp.yaml (see docs/guides/dhcp.md)')
  }
  const value = Value.Default(DiscoveryConfig, readYaml(path)) as Static<typeof DiscoveryConfig>
  const [problem] = Value.Errors(DiscoveryConfig, value)
  if (problem) {
    const name = problem.instancePath.slice(1).replaceAll('/', '.') || 'the configuration'
    throw new ConfigError(`${path}: ${name} ${problem.message} (see docs/dhcp-configuration.md)`)
  }
  const { MELANGE_TOKEN } = environment
  const file = value.api.token_file
  const token = MELANGE_TOKEN || (file === undefined ? '' : readText(file).trim())
  if (!token) throw new ConfigError(`${path}: api.token_file or MELANGE_TOKEN is needed`)
  return { ...value, name: value.name ?? hostname().slice(0, 64), token }
}

function readYaml(path: string): unknown {
  try {
    return parse(readText(path)) ?? {}
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause
    const reason = cause instanceof Error ? cause.message.split('\n')[0] : String(cause)
    throw new ConfigError(`${path}: ${reason}`, { cause })
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new ConfigError(`${path}: ${(cause as Error).message}`, { cause })
  }
}
