import { type Static, type TProperties, Type } from 'typebox'

const section = <P extends TProperties>(description: string, properties: P) =>
  Type.Object(properties, { additionalProperties: false, description, default: {} })

const positive = (value: number, description: string, maximum = 1_000_000) =>
  Type.Integer({ default: value, minimum: 1, maximum, description })

const name = { minLength: 1, maxLength: 1024 }
/** Signatures with a private key; with a shared one anybody who can check could sign. */
const signatures = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const

const text = (description: string) => Type.String({ minLength: 1, maxLength: 1024, description })
const roleMap = (description: string) =>
  Type.Record(Type.String(), Type.String({ minLength: 1, maxLength: 255 }), {
    default: {},
    description,
  })

const OidcIssuer = Type.Object(
  {
    issuer: Type.String({
      pattern: '^(https://|http://(localhost|127\\.0\\.0\\.1|\\[::1\\])[:/])[^?#@\\s]+$',
      maxLength: 1024,
      description:
        'URL of the issuer, just as its tokens have it in `iss`. https, but on this machine.',
    }),
    audience: text('What `aud` of a token must hold: the name that Melange has at the issuer.'),
    algorithms: Type.Array(Type.Union(signatures.map(name => Type.Literal(name))), {
      default: ['RS256', 'PS256', 'ES256', 'EdDSA'],
      minItems: 1,
      description: 'By which a token may be signed.',
    }),
    claims: section('Where a token says who asks: names of claims; a.b is a member of a.', {
      user_id: Type.String({ ...name, default: 'sub', description: 'The user.' }),
      user_name: Type.String({
        ...name,
        default: 'preferred_username',
        description: 'The name of the user.',
      }),
      project_id: Type.Optional(
        Type.String({ ...name, description: 'The project; without it there is none.' }),
      ),
      roles: Type.String({
        ...name,
        default: 'roles',
        description: 'Names that the maps below know: a list, or a text with spaces.',
      }),
    }),
    role_map: roleMap(
      'Which role in the project each name stands for. Other names stand for none.',
    ),
    system_role_map: roleMap(
      'Which role on the system each name stands for. Who has such a name is in no project.',
    ),
  },
  { additionalProperties: false },
)

/** What can be set of OpenID Connect: a part of the configuration in config.ts. */
export const oidcSettings = section(
  'OpenID Connect as an authority for tokens: docs/guides/tokens.md.',
  {
    issuers: Type.Array(OidcIssuer, {
      default: [],
      maxItems: 32,
      description: 'Whose signed tokens (JWT) count.',
    }),
    clock_tolerance_seconds: Type.Integer({
      default: 30,
      minimum: 0,
      maximum: 600,
      description: 'By how much the clocks of issuers may differ.',
    }),
    token_age_seconds_max: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 31_536_000,
        description: 'How long ago a token may have been issued at most; it has to say when then.',
      }),
    ),
    token_bytes_max: positive(8192, 'Size of a token; a larger one is not looked at.', 65_536),
    timeout_seconds: positive(5, 'How long an issuer may take for an answer.', 60),
    keys_seconds: positive(
      300,
      'How old the keys of an issuer get before it is asked for them again.',
      86_400,
    ),
    keys_stale_seconds: positive(
      86_400,
      'How old they may get while the issuer is away.',
      31_536_000,
    ),
    cooldown_seconds: positive(
      10,
      'Rest between two questions to an issuer, whatever keys tokens name.',
      3600,
    ),
    cache_max: positive(10_000, 'Of how many tokens it is remembered that they are valid.'),
  },
)
export type OidcSettings = Static<typeof oidcSettings>

/** An issuer that is there more than once. */
export function repeatedIssuer({ issuers }: OidcSettings): string | undefined {
  const urls = issuers.map(({ issuer }) => issuer)
  return urls.find((url, index) => urls.indexOf(url) < index)
}
