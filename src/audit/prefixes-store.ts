import { type Sql, sql } from '../db/sql.ts'

// What the checks reckon with, in words of PostgreSQL itself: none of the functions that maintain
// free space and counts is used, or one mistake in them would prove itself.

const bits = (prefix: Sql) => sql`case family(${prefix}) when 4 then 32 else 128 end`

/** The first address of a prefix, and the last one. */
export const firstOf = (prefix: Sql) => sql`set_masklen(network(${prefix})::inet, ${bits(prefix)})`
export const lastOf = (prefix: Sql) => sql`set_masklen(broadcast(${prefix}), ${bits(prefix)})`

/** How many addresses a prefix has, exactly. */
export const countOf = (prefix: Sql) => sql`case when masklen(${prefix}) = ${bits(prefix)} then 1
  else power(2::numeric, ${bits(prefix)} - masklen(${prefix}))::numeric(39, 0) end`

/** An address as a number: IPv6 in parts of 60, 60 and 8 bits, which are never negative. */
export const numberOf = (address: Sql) => {
  const digits = sql`encode(inet_send(${address}), 'hex')` // Four bytes of header come first.
  return sql`case family(${address}) when 4 then (${address} - '0.0.0.0'::inet)::numeric else
    ('x' || substr(${digits}, 9, 15))::bit(60)::bigint * 295147905179352825856
    + ('x' || substr(${digits}, 24, 15))::bit(60)::bigint * 256::numeric
    + ('x' || substr(${digits}, 39, 2))::bit(8)::int end`
}

/** A run of addresses, in words. */
export const runOf = (first: Sql, last: Sql) => sql`host(${first}) || '-' || host(${last})`
