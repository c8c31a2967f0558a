import { say } from '../measure.ts'
import type { Lab } from './lab.ts'
import type { Load, LoadProgram } from './load.ts'
import { perfdhcpTakes } from './perfdhcp.ts'
import { RateSearch } from './rate-search.ts'
import { medianRate } from './report.ts'
import type { DhcpServer } from './servers.ts'
import { type DhcpSettings, findLoads, populationOf } from './settings.ts'
import { keepsRate, type Pace, runTrial, type Trial } from './trial.ts'

const window = 64
/** Where a search begins, as a part of the rate in the closed loop; perfdhcp needs much itself. */
const searchStart = { rate: 0.95, perfdhcp: 0.6 } as const

/** What a server could not do. */
export type Failure = { readonly server: string; readonly what: string; readonly why: string }

type CampaignOptions = {
  readonly lab: Lab
  readonly program: LoadProgram
  readonly settings: DhcpSettings
  readonly servers: readonly DhcpServer[]
}

type Search = {
  readonly server: string
  readonly load: string
  readonly by: keyof typeof searchStart
}

/** Trials of all servers, so that each sees the machine as it is at the time. */
export class Campaign {
  readonly trials: Trial[] = []
  readonly failures: Failure[] = []
  readonly #searches = new Map<string, Search & { readonly search: RateSearch }>()
  readonly #given: CampaignOptions

  constructor(given: CampaignOptions) {
    this.#given = given
  }

  get searches() {
    return [...this.#searches.values()].map(({ search, ...what }) => ({
      ...what,
      ...search.result,
    }))
  }

  /** Clients that wait for their answers: each server once under each load. */
  async runRound(round: number): Promise<void> {
    const { settings, servers } = this.#given
    for (const load of findLoads(settings.loads)) {
      for (const server of rotate(servers, round)) {
        await this.#try({ server, load, round, pace: { by: 'window', window } })
      }
    }
  }

  /** One step of each search for the highest rate with little loss. */
  async searchRates(step: number): Promise<void> {
    const { settings, servers } = this.#given
    for (const load of findLoads(settings.rate_loads)) {
      for (const server of rotate(servers, step)) {
        for (const by of ['rate', 'perfdhcp'] as const) {
          if (by === 'perfdhcp' && (!perfdhcpTakes(load) || load.clients === 'known')) continue
          const found = this.#searchOf({ server: server.name, load: load.name, by })
          if (!found) continue
          const pace = { by, rate: found.next }
          const trial = await this.#try({ server, load, round: step, pace })
          if (trial) found.take({ rate: pace.rate, kept: keepsRate(trial) })
        }
      }
    }
  }

  #searchOf(what: Search): RateSearch | null {
    const key = Object.values(what).join(' ')
    const closedLoop = medianRate(this.trials, what)
    if (!(closedLoop > 0)) return null
    const found =
      this.#searches.get(key)?.search ?? new RateSearch(closedLoop * searchStart[what.by])
    this.#searches.set(key, { ...what, search: found })
    return found
  }

  async #try(given: {
    server: DhcpServer
    load: Load
    round: number
    pace: Pace
  }): Promise<Trial | null> {
    const { server, load, round, pace } = given
    if (!server.takes(load)) return null
    const { lab, program, settings } = this.#given
    const population = populationOf(settings)
    const { seconds } = settings
    const what = `${load.name}, ${pace.by === 'window' ? 'closed loop' : `${pace.rate}/s`}`
    return guarded(this.failures, { server: server.name, what }, async () => {
      const trial = await runTrial({ lab, program, population, seconds, ...given })
      this.trials.push(trial)
      say(
        `${pace.by === 'window' ? 'round' : pace.by} ${round}, ${server.name}, ${what}: ` +
          `${trial.per_s}/s, ${trial.loss_percent} % lost, ${trial.server_us} µs, ` +
          `others ${trial.others_cpu}`,
      )
      return trial
    })
  }
}

/** A server that fails is reported, and does not end the run of the others. */
export async function guarded<Result>(
  failures: Failure[],
  what: { server: string; what: string },
  work: () => Promise<Result>,
): Promise<Result | null> {
  try {
    return await work()
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    failures.push({ ...what, why: why.slice(-500) })
    say(`${what.server}, ${what.what}: ${why}`)
    return null
  }
}

/** In each round another one begins. */
function rotate<Item>(items: readonly Item[], round: number): Item[] {
  const first = (round - 1) % Math.max(1, items.length)
  return [...items.slice(first), ...items.slice(0, first)]
}
