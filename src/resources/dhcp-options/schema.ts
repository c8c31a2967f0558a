import { type Static, Type } from 'typebox'
import { derivations } from '../../dhcp/configuration.ts'
import { optionTypeNames } from '../../dhcp/options.ts'
import {
  AddressText,
  CidrText,
  closed,
  Generation,
  Id,
  Nullable,
  oneOf,
  PageQuery,
  Time,
} from '../../schema.ts'

/** What an option can be set on. */
export const subjectTypes = ['address_scope', 'network', 'block', 'interface'] as const
export type SubjectType = (typeof subjectTypes)[number]

/** How many options are set on one thing at most, of both versions. */
export const optionsMax = 256

export const Version = Type.Union([Type.Literal(4), Type.Literal(6)])
const Subject = closed({ type: oneOf(subjectTypes), id: Id })

const Value = Type.Unsafe<unknown>({
  description:
    'As the type of the option has it: a text, number, boolean or a list; hex for an option that is not known.',
})
const described = {
  code: Type.Integer({ minimum: 1, maximum: 65_535 }),
  name: Nullable(Type.String(), { description: 'Null for a number that is not known.' }),
  type: oneOf(optionTypeNames),
}
const valued = {
  value: Value,
  wire: Type.Array(Type.String({ pattern: '^([0-9a-f]{2})*$' }), {
    description:
      'What a server sends for it, in hex, without code and length; mostly one option says it all.',
  }),
}

export const DhcpOption = closed(
  {
    id: Id,
    attached_to: Subject,
    version: Version,
    ...described,
    ...valued,
    generation: Generation,
    created_at: Time,
    updated_at: Time,
  },
  { $id: 'DhcpOption' },
)
export type DhcpOption = Static<typeof DhcpOption>

export const DhcpOptionRequest = closed({ value: Value }, { $id: 'DhcpOptionRequest' })

export const DhcpOptionQuery = closed({ version: Type.Optional(Version), ...PageQuery })

export const OptionName = Type.String({
  pattern: '^[a-z0-9][a-z0-9-]{0,63}$',
  description: 'By its name or its number: `dns-servers`, `6`.',
})

export const KnownDhcpOption = closed(
  {
    version: Version,
    ...described,
    rfc: Nullable(Type.Integer()),
    section: Nullable(Type.String()),
  },
  { $id: 'KnownDhcpOption' },
)

/** Who says what is in force, and what of it it is worked out from. */
export const origin = {
  source: closed({ type: oneOf(subjectTypes), id: Id }),
  derived_from: Nullable(oneOf(derivations), {
    description: 'What of its source it is worked out from; null if it is set.',
  }),
}
export const OptionInForce = closed({ ...described, ...valued, ...origin })

export const ConfiguredRoute = closed({
  destination: CidrText,
  gateway: AddressText,
  metric: Nullable(Type.Integer()),
})

/** What the machines of a block are told, all things together. */
export const BlockConfiguration = closed(
  {
    block_id: Id,
    network_id: Nullable(Id),
    cidr: CidrText,
    version: Version,
    gateway_ip: Nullable(AddressText),
    routes: Type.Array(ConfiguredRoute),
    options: Type.Array(OptionInForce, { description: 'Of the version of the block, by code.' }),
  },
  { $id: 'BlockConfiguration' },
)
export type BlockConfiguration = Static<typeof BlockConfiguration>
