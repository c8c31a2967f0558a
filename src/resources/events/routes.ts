import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { boundTo } from '../../access/enforce.ts'
import type { Database } from '../../db/database.ts'
import { closed, Id, Nullable, oneOf, ProjectId, problems, ref, Time } from '../../schema.ts'
import { type EventRow, eventTypes, listEvents, newestEvent } from './store.ts'
import type { EventWatch } from './watch.ts'

export const Event = closed(
  {
    cursor: Type.String({ description: 'Ask for what comes `after` this.' }),
    at: Time,
    type: oneOf(eventTypes),
    object_id: Id,
    project_id: Nullable(ProjectId),
    data: Type.Object(
      {},
      {
        additionalProperties: true,
        description: 'The object after the change, or before its end.',
      },
    ),
  },
  { $id: 'Event' },
)

export type EventOptions = {
  readonly db: Database
  readonly watch: EventWatch
  /** Told of each answer to a reader who waited: how old its oldest event was. */
  readonly observeLag: (seconds: number) => void
}

/** /v2/events: every change, in the order in which it was committed. */
export const eventRoutes: FastifyPluginAsyncTypebox<EventOptions> = async (
  app,
  { db, watch, observeLag },
) => {
  app.get(
    '/v2/events',
    {
      schema: {
        operationId: 'listEvents',
        summary: 'Read the events after a cursor, and wait for some if there are none',
        tags: ['events'],
        querystring: closed({
          after: Type.String({
            pattern: '^([0-9]{1,15}|latest)$',
            default: '0',
            description: 'The cursor of the answer before; `latest` for what is still to come.',
          }),
          wait: Type.Integer({
            minimum: 0,
            maximum: 60,
            default: 0,
            description: 'Seconds to wait for an event.',
          }),
          limit: Type.Integer({ minimum: 1, maximum: 1000, default: 100 }),
          type: Type.Optional(oneOf(eventTypes)),
          project_id: Type.Optional(ProjectId),
        }),
        response: {
          200: closed({ events: Type.Array(ref(Event)), cursor: Type.String() }),
          ...problems('events_expired'),
        },
      },
    },
    async request => {
      const { query, signal } = request
      const bound = boundTo(request)
      const { limit, wait, type, project_id } = query
      const filter = { type, project_id }
      const deadline = Date.now() + wait * 1000
      let after = query.after === 'latest' ? await newestEvent(db) : Number(query.after)
      for (let hasWaited = false; ; hasWaited = true) {
        const { events, cursor, read_at } = await listEvents(db, { after, limit, filter, bound })
        if (hasWaited && events[0]) observeLag(secondsBetween(events[0].at, read_at))
        const milliseconds = events.length > 0 ? 0 : deadline - Date.now()
        const isMore =
          milliseconds > 0 && (await watch.waitBeyond(cursor, { milliseconds, signal }))
        if (!isMore) return { events: events.map(asEvent), cursor: String(cursor) }
        after = cursor
      }
    },
  )
}

const secondsBetween = (start: string, end: string) => (Date.parse(end) - Date.parse(start)) / 1000

const asEvent = ({ seq, ...event }: EventRow) => ({ cursor: String(seq), ...event })
