import { isIP } from 'node:net'
import { type Static, type TProperties, Type } from 'typebox'

const section = <P extends TProperties>(description: string, properties: P) =>
  Type.Object(properties, { additionalProperties: false, description, default: {} })

const within = (value: number, minimum: number, maximum: number, description: string) =>
  Type.Integer({ default: value, minimum, maximum, description })

const file = (description: string) =>
  Type.Optional(Type.String({ minLength: 1, maxLength: 4096, description }))

const perSecond = (value: number, description: string) =>
  Type.Union([Type.Number({ minimum: 0.01, maximum: 1_000_000 }), Type.Null()], {
    default: value,
    description: `${description} \`null\`: no limit.`,
  })
const burst = (value: number) =>
  within(value, 1, 10_000_000, 'How many of them may come at once, after a rest.')

/** What can be set of the API's limits: a part of the configuration in config.ts. */
export const apiSettings = section('Limits of the API.', {
  body_bytes_max: within(1_048_576, 1, 16_777_216, 'Size of a request body; above it 413.'),
  header_bytes_max: within(
    16_384,
    1024,
    1_048_576,
    'Size of the request line and all headers; above it 431. Tokens stand in headers.',
  ),
  headers_max: within(100, 10, 1000, 'Headers of a request; above it 431.'),
  url_bytes_max: within(8192, 256, 1_048_576, 'Size of path and query; above it 414.'),
  header_timeout_seconds: within(
    10,
    1,
    600,
    'How long a client may take for the headers of a request, and to agree on TLS; then 408.',
  ),
  request_timeout_seconds: within(
    30,
    1,
    600,
    'How long a client may take to send a request; then 408.',
  ),
  keep_alive_seconds: within(
    72,
    1,
    3600,
    'How long a connection is kept on which nothing is asked. Longer than a proxy keeps its own.',
  ),
  connections_max: within(
    10_000,
    1,
    1_000_000,
    'Connections at a time; more are closed without an answer.',
  ),
  shutdown_seconds: within(20, 1, 600, 'How long requests under way may take after SIGTERM.'),
})

/** What can be set of TLS. */
export const tlsSettings = section('HTTPS instead of HTTP: docs/security.md.', {
  certificate: file(
    'PEM file with the certificate of the server, and behind it those that lead to a known authority.',
  ),
  key: file('PEM file with its private key, without a passphrase.'),
})

/** What can be set of proxies. */
export const proxySettings = section('Proxies before the API: docs/security.md.', {
  trusted: Type.Array(Type.String({ maxLength: 64 }), {
    default: [],
    maxItems: 1000,
    description:
      'Addresses or CIDRs of proxies whose X-Forwarded-For, -Proto and -Host are believed; nobody else is.',
  }),
})

/** What can be set of rates. */
export const rateSettings = section(
  'How many requests are answered, by each process on its own; above it 429: docs/security.md.',
  {
    project_per_second: perSecond(1000, 'Requests of a project, whoever of its users makes them.'),
    project_burst: burst(2000),
    user_per_second: perSecond(
      20_000,
      'Requests of a user with the role `admin` or `service`, or whose token is for no project.',
    ),
    user_burst: burst(40_000),
    address_per_second: perSecond(
      20_000,
      'Requests from an address, or an IPv6 /64, before anything else of them is looked at.',
    ),
    address_burst: burst(40_000),
    failed_authentications_per_second: perSecond(
      5,
      'Tokens from an address, or an IPv6 /64, that are not valid.',
    ),
    failed_authentications_burst: burst(100),
    remembered_max: within(
      10_000,
      1,
      1_000_000,
      'Of how many of each kind it is remembered; who was away for longest is forgotten.',
    ),
  },
)

export type ApiSettings = Static<typeof apiSettings>
export type TlsSettings = Static<typeof tlsSettings>
export type ProxySettings = Static<typeof proxySettings>
export type RateSettings = Static<typeof rateSettings>

/** Why these settings cannot be used together; null if they can. */
export function serverProblem({
  tls,
  proxies,
}: {
  readonly tls: TlsSettings
  readonly proxies: ProxySettings
}): string | null {
  if (tls.certificate !== undefined && tls.key === undefined) return 'tls.certificate needs tls.key'
  if (tls.key !== undefined && tls.certificate === undefined) return 'tls.key needs tls.certificate'
  const index = proxies.trusted.findIndex(text => !isCidr(text))
  if (index === -1) return null
  return `proxies.trusted.${index} is no IP address or CIDR: ${proxies.trusted[index]}`
}

function isCidr(text: string): boolean {
  const [, address = '', length] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const bits = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1
  // Who trusts everybody trusts what anybody writes into a header.
  return bits > 0 && (length === undefined || (Number(length) >= 1 && Number(length) <= bits))
}
