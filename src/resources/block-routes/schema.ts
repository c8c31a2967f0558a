import { type Static, Type } from 'typebox'
import {
  AddressText,
  CidrText,
  closed,
  Description,
  Generation,
  Id,
  Nullable,
  PageQuery,
  Time,
} from '../../schema.ts'

/** How many routes a block has at most. */
export const routesMax = 256

const gateway = Type.Unsafe<string>({
  ...AddressText,
  description: 'The next hop; in IPv4 `0.0.0.0` for what is on the link itself (RFC 3442).',
})
const metric = Nullable(Type.Integer({ minimum: 0, maximum: 4_294_967_295 }), {
  description: 'The lowest is preferred. DHCP does not carry it.',
})

/** A route that the machines of a block are told. */
export const BlockRoute = closed(
  {
    id: Id,
    block_id: Id,
    destination: CidrText,
    gateway,
    metric,
    description: Description,
    generation: Generation,
    created_at: Time,
    updated_at: Time,
  },
  { $id: 'BlockRoute' },
)
export type BlockRoute = Static<typeof BlockRoute>

const optional = { metric: Type.Optional(metric), description: Type.Optional(Description) }

export const BlockRouteRequest = closed(
  { destination: CidrText, gateway, ...optional },
  { $id: 'BlockRouteRequest' },
)
export type BlockRouteRequest = Static<typeof BlockRouteRequest>

export const BlockRoutePatch = closed(
  {
    destination: Type.Optional(CidrText),
    gateway: Type.Optional(gateway),
    ...optional,
  },
  { $id: 'BlockRoutePatch' },
)
export type BlockRoutePatch = Static<typeof BlockRoutePatch>

export const BlockRouteQuery = closed({
  destination: Type.Optional(CidrText),
  gateway: Type.Optional(AddressText),
  ...PageQuery,
})
export type BlockRouteQuery = Static<typeof BlockRouteQuery>
