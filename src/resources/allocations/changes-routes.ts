import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import type { Database } from '../../db/database.ts'
import { closed, limitMax, ProjectId, problems, ref } from '../../schema.ts'
import { type ChangeCursor, listChanges } from './changes-store.ts'
import { Allocation, OwnerId, OwnerType } from './schema.ts'

/** /v2/allocations/changes: how an owner that was away finds out what became of what it held. */
export const changesRoutes: FastifyPluginAsyncTypebox<{ db: Database }> = async (app, { db }) => {
  app.get(
    '/v2/allocations/changes',
    {
      schema: {
        operationId: 'listAllocationChanges',
        summary: 'List what an owner holds, then what changed of it behind a cursor',
        tags: ['holds'],
        querystring: closed({
          project_id: ProjectId,
          owner_type: Type.Optional(OwnerType),
          owner_id: OwnerId,
          after: Type.String({
            pattern: '^[0-9]{1,15}(\\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$',
            default: '0',
            description: 'The `cursor` of the answer before; 0 is the start: all that is held.',
          }),
          limit: Type.Integer({ minimum: 1, maximum: limitMax, default: 100 }),
        }),
        response: {
          200: closed({
            allocations: Type.Array(ref(Allocation), {
              description: 'Each as it is now; one that ended has its `ended_at`.',
            }),
            cursor: Type.String({ description: 'What to ask for next: what comes `after` this.' }),
            more: Type.Boolean({ description: 'Whether there is more behind the cursor already.' }),
          }),
          ...problems('events_expired'),
        },
      },
    },
    async ({ query: { after, limit, ...owner } }) => {
      const { cursor, ...changes } = await listChanges(db, {
        owner,
        after: readCursor(after),
        limit,
      })
      return { ...changes, cursor: writeCursor(cursor) }
    },
  )
}

function readCursor(text: string): ChangeCursor {
  const [seq, id] = text.split('.')
  return { seq: Number(seq), id }
}

const writeCursor = ({ seq, id }: ChangeCursor) => (id === undefined ? `${seq}` : `${seq}.${id}`)
