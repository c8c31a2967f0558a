import type { Database } from '../../db/database.ts'
import { beginRun, notedMax, noteMore, removeOldSamples, sampleDue } from './sample-store.ts'

export type SamplerOptions = {
  readonly sample_seconds: number
  readonly retention_days: number
}

const removedMax = 10_000

/**
 * Takes a sample of all that has changed, unless another node does or just did; tells whether it
 * did, and after how many seconds it is worth while again. `isStopped` is asked between
 * transactions; what is left undone then the next run does.
 */
export async function sampleUtilisation(
  db: Database,
  { sample_seconds, retention_days }: SamplerOptions,
  isStopped = () => false,
): Promise<{ has_run: boolean; seconds_left: number }> {
  const { noted, seconds_left } = await beginRun(db, sample_seconds)
  if (noted === null) return { has_run: false, seconds_left }
  for (let found = noted; ; found = await noteMore(db)) {
    while (!isStopped() && (await sampleDue(db)) > 0);
    if (isStopped() || found < notedMax) break
  }
  const old = { days: retention_days, limit: removedMax }
  while (!isStopped() && (await removeOldSamples(db, old)) === removedMax);
  return { has_run: true, seconds_left }
}

const firstMilliseconds = 1000

/** Samples now and then; what it returns ends that, and resolves when no transaction is open. */
export function startSampler(
  db: Database,
  { onError, ...options }: SamplerOptions & { readonly onError: (error: unknown) => void },
): () => Promise<void> {
  let isStopped = false
  let running = Promise.resolve()
  let timer = setTimeout(start, firstMilliseconds).unref()
  function start() {
    running = work()
  }
  async function work() {
    let seconds = options.sample_seconds
    try {
      seconds = (await sampleUtilisation(db, options, () => isStopped)).seconds_left
    } catch (error) {
      onError(error)
    }
    if (!isStopped) timer = setTimeout(start, Math.ceil(seconds * 1000) + 1).unref()
  }
  return () => {
    isStopped = true
    clearTimeout(timer)
    return running
  }
}
