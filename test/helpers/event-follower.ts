import type { ServerProcess } from './server-process.ts'

/** An event, as far as its order matters. */
export type SeenEvent = {
  readonly cursor: string
  readonly type: string
  readonly object_id: string
  readonly data: { readonly generation: number }
}

type Page = { readonly events: readonly SeenEvent[]; readonly cursor: string }

/** Follows the events of one server from the beginning, by long poll, until told to stop. */
export function followEvents(server: ServerProcess) {
  const seen: SeenEvent[] = []
  const faults: string[] = []
  let isLast = false

  async function follow(): Promise<void> {
    for (let after = '0'; ; ) {
      const mayEnd = isLast // Looked at before the request: what it answers is complete then.
      const wait = mayEnd ? 0 : 1
      const { status, body } = await server.get<Page>(
        `/v2/events?after=${after}&wait=${wait}&limit=500`,
      )
      if (status !== 200) throw new Error(`the events answered ${status} ${JSON.stringify(body)}`)
      const { events, cursor } = body
      for (const event of events) {
        const before = seen.at(-1)?.cursor ?? '0'
        if (Number(event.cursor) <= Number(before)) faults.push(`${event.cursor} after ${before}`)
        seen.push(event)
      }
      const newest = events.at(-1)?.cursor ?? after
      if (Number(cursor) < Number(newest)) faults.push(`cursor ${cursor} before ${newest}`)
      if (mayEnd && events.length === 0) return
      after = cursor
    }
  }

  const following = follow()
  following.catch(() => undefined) // It is reported by `finish`.
  return {
    /** Reads what there still is, then tells all that was seen. */
    async finish(): Promise<{ seen: readonly SeenEvent[]; faults: readonly string[] }> {
      isLast = true
      await following
      return { seen, faults }
    },
  }
}
