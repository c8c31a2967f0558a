import { Type } from 'typebox'
import { expect } from 'vitest'
import { type OpenDatabase, rows } from '../../src/db/database.ts'
import { sampleUtilisation } from '../../src/resources/utilisation/sampler.ts'
import type { UtilisationSample } from '../../src/resources/utilisation/schema.ts'
import { type Answer, expectStatus } from './api.ts'
import { useClock } from './clock.ts'

export const options = { sample_seconds: 300, retention_days: 400 }
export type Samples = { samples: UtilisationSample[]; links: { href: string }[] }

export const urlOf = ({ id }: { readonly id: string }) => `/v2/blocks/${id}`

/** A sampler that runs when a test says so, by a clock of the test, and what it writes. */
export function useSampler(api: {
  readonly db: OpenDatabase
  readonly get: (url: string) => Promise<Answer>
}) {
  const clock = useClock(api, '2030-01-01T00:00:00Z')
  return {
    clock,

    /** What a sampler does five minutes after the one before. */
    async sample(): Promise<void> {
      await clock.advance({ seconds: 300 })
      expect(await sampleUtilisation(api.db, options)).toEqual({ has_run: true, seconds_left: 300 })
    },

    async history(url: string, query = ''): Promise<UtilisationSample[]> {
      const answer = await api.get(`${url}/utilisation/history?limit=1000&${query}`)
      return (expectStatus(200, answer) as unknown as Samples).samples
    },

    /** How many samples there are, of everything. */
    async count(): Promise<number> {
      const [row] = await rows(api.db, Type.Object({ count: Type.Integer() }))`
        select (select count(*) from utilisation_current)
          + (select count(*) from utilisation_samples) as count`
      return row?.count ?? 0
    },
  }
}
