import type { Change } from './driver.ts'
import type { Journal } from './journal.ts'
import { createReplica, type Replica } from './replica.ts'

/** What is served, in memory and on the disk. */
export type Kept = {
  readonly replica: Replica
  /** Whether all of it was known at some time, so that machines can be answered. */
  readonly isComplete: boolean
  /** Behind what is known; null if all is to be read again. */
  readonly cursor: string | null
  /**
   * Takes over changes in memory, and tells which make a difference; on the disk they are a moment later.
   * A cursor says that all is known up to there.
   */
  take(changes: readonly Change[], cursor: string | null): Change[]
  /** The file could not be written, and why. */
  problems(): readonly string[]
}

type Line = { readonly changes: readonly Change[]; readonly cursor: string | null }

const changesPerLine = 100

/**
 * What was served before, of the networks that are wanted. A line of the journal may be lost in a crash
 * of the machine: then the events since are read again.
 */
export function openKept(journal: Journal, wanted: ReadonlySet<string>): Kept {
  const replica = createReplica()
  const { served } = replica
  let cursor: string | null = null
  for (const line of journal.lines as Line[]) {
    for (const change of line.changes) replica.apply(change)
    cursor = line.cursor ?? cursor
  }
  for (const network_id of served.keys()) {
    if (!wanted.has(network_id)) replica.apply({ type: 'network_gone', network_id })
  }
  const isComplete = cursor !== null
  if ([...wanted].some(id => !served.has(id))) cursor = null

  let known = cursor
  let fault: string | null = null
  let isRewriting = false

  function* lines(): Generator<Line> {
    for (const { network, hosts } of served.values()) {
      yield { changes: [{ type: 'network', network }], cursor: null }
      let changes: Change[] = []
      for (const host of hosts.values()) {
        changes.push({ type: 'host', network_id: network.id, host })
        if (changes.length < changesPerLine) continue
        yield { changes, cursor: null }
        changes = []
      }
      yield { changes, cursor: null }
    }
    yield { changes: [], cursor: known }
  }

  const note = (work: Promise<void>) =>
    work.then(
      () => {
        fault = null
      },
      error => {
        fault = `what is served is not kept on the disk: ${(error as Error).message}`
      },
    )

  return {
    replica,
    isComplete,
    cursor,
    problems: () => (fault === null ? [] : [fault]),
    take(changes, to) {
      const real = changes.filter(change => replica.apply(change))
      known = to ?? known
      if (real.length > 0 || to !== null) void note(journal.append({ changes: real, cursor: to }))
      if (journal.isLong() && !isRewriting) {
        isRewriting = true
        void note(journal.rewrite(lines())).then(() => {
          isRewriting = false
        })
      }
      return real
    },
  }
}
