import type { Database } from '../../db/database.ts'
import { changeHosts, listHosts } from './hosts-store.ts'
import type { Reservations } from './reservations.ts'

/** Brings the hosts of Kea's database to what is wanted. One run at a time. */
export type ReservationSync = {
  /** Digests that came or went. */
  note(digests: Iterable<string>): void
  /** @throws if the database fails; all is compared the next time. */
  run(): Promise<void>
}

export function createReservationSync(
  db: Database,
  { wanted }: Pick<Reservations, 'wanted'>,
): ReservationSync {
  /** What is there; null if that is not known. */
  let present: Map<string, number> | null = null
  const noted = new Set<string>()

  async function differences(): Promise<Iterable<string>> {
    if (present) return [...noted]
    present = await listHosts(db)
    return new Set([...present.keys(), ...wanted.keys()])
  }

  return {
    note(digests) {
      for (const digest of digests) noted.add(digest)
    },
    async run() {
      const gone: [string, number][] = []
      const added: { digest: string; columns: NonNullable<ReturnType<typeof columnsOf>> }[] = []
      const columnsOf = (digest: string) => wanted.get(digest)?.columns
      for (const digest of await differences()) {
        const columns = columnsOf(digest)
        const host_id = present?.get(digest)
        if (columns && host_id === undefined) added.push({ digest, columns })
        else if (!columns && host_id !== undefined) gone.push([digest, host_id])
      }
      const known = present
      present = null // Until it is known that this was done, it is not known what is there.
      if (gone.length + added.length > 0) {
        const ids = await changeHosts(db, { gone: gone.map(([, id]) => id), added })
        for (const [digest] of gone) known?.delete(digest)
        for (const [digest, host_id] of ids) known?.set(digest, host_id)
      }
      present = known
      noted.clear()
    },
  }
}
