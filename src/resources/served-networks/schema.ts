import { type Static, Type } from 'typebox'
import { closed, PageQuery } from '../../schema.ts'

/** How many hosts a page has at most, and how many can be asked for by their ids. */
const hostsMax = 5000
const idsMax = 200

export const ServedHostQuery = closed({
  id: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 300 }), {
      maxItems: idsMax,
      description: 'These hosts alone, in one page; those that are not there are left out.',
    }),
  ),
  limit: Type.Integer({ minimum: 1, maximum: hostsMax, default: 1000 }),
  marker: PageQuery.marker,
})
export type ServedHostQuery = Static<typeof ServedHostQuery>
