import { errorCatalogue, IpamError } from '../../../src/errors.ts'
import { allocationOperations } from './allocations.ts'
import { blockOperations } from './blocks.ts'
import type { Lives } from './world.ts'

const operations = [blockOperations, allocationOperations]
  .flatMap(Object.entries<(typeof blockOperations)[string]>)
  .map(([name, operation]) => ({ name, ...operation }))

/** Does something by chance; a refusal is as good as success, a bug is thrown. */
export async function step(lives: Lives): Promise<void> {
  const { name, run } = lives.random.weighted(operations)
  let outcome = 'done'
  try {
    await run(lives)
  } catch (error) {
    if (!isRefusal(error)) throw error
    outcome = error.code
  }
  lives.note(`${name}: ${outcome}`)
}

export const isRefusal = (error: unknown): error is IpamError =>
  error instanceof IpamError && errorCatalogue[error.code].status < 500
