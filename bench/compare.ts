import { startPostgresServer } from '../test/helpers/postgres-server.ts'
import {
  type AllocationCase,
  allocationCases,
  allocationRequests,
  bulk,
  type Held,
  heldCases,
  type Requests,
  sequential,
  shuffle,
} from './cases.ts'
import { checkOut, describeWorkingTree } from './checkout.ts'
import {
  type CompareReport,
  type CompareSettings,
  coreCase,
  makeCompareReport,
} from './compare-report.ts'
import { BlockMaker } from './fill.ts'
import { type JobResult, type LoadClient, startLoadClient } from './load.ts'
import { address, say } from './measure.ts'
import { compareRates, type RoundRates, type SideName } from './ratios.ts'
import { type BenchServer, closeAll, describeMachine, query, startServer } from './setup.ts'

type Side = {
  readonly name: SideName
  readonly server: BenchServer
  readonly maker: BlockMaker
  /** What the sequential case of the round has taken; a release uses it up. */
  held: Held[]
}

/** What is measured on both sides alike. */
type Subject = {
  readonly name: string
  /** Makes what the requests need; that takes no time that is measured. */
  prepare(side: Side, count: number): Promise<Prepared>
  /** Addresses of each answer, if it is not one. */
  readonly addresses?: number | undefined
  /** Whether each request uses up an allocation of the sequential case. */
  readonly uses_held?: boolean
}

type Prepared = {
  readonly requests: Requests
  /** Keeps what was taken for the cases that need allocations. */
  readonly keep?: (collected: JobResult['collected']) => void
}

/** A subject with the number of its requests in each measurement. */
type Sized = { readonly subject: Subject; readonly count: number }

type Comparison = {
  readonly load: LoadClient
  readonly ours: Side
  readonly theirs: Side
  readonly settings: CompareSettings
  readonly databaseUrl: string
}

/** Nothing answers more requests in a second. */
const ratePerSecondMax = 30_000

/** Every request of a measurement is sent, unless that takes longer. */
const patienceSeconds = 60

/** The ratio of the core case is sure when its interval is no wider than this both ways. */
const marginMax = 0.03

/** Measures the working tree against another commit, both on this machine and in this run. */
export function benchCompare(settings: CompareSettings): Promise<CompareReport> {
  return closeAll(async closing => {
    const workingTree = describeWorkingTree()
    const checkout = await checkOut(settings.revision)
    closing(() => checkout.remove())
    const postgres = await startPostgresServer()
    closing(() => postgres.stop())
    const machine = await describeMachine(postgres.url)
    const load = startLoadClient()
    closing(() => load.close())
    const startSide = async (name: SideName, program?: string): Promise<Side> => {
      const environment = { DATABASE_URL: await postgres.createDatabase(name) }
      const server = await startServer({
        kind: 'melange',
        environment,
        ...(program && { program }),
      })
      closing(() => server.close())
      return { name, server, maker: new BlockMaker(server, load), held: [] }
    }
    const ours = await startSide('ours')
    const theirs = await startSide('theirs', checkout.program)
    const comparison = { load, ours, theirs, settings, databaseUrl: postgres.url }
    const { sized, left_out } = await warmUp(comparison)
    const cases = await measureRounds(comparison, sized)
    const { commit } = checkout
    const sides = { ours: workingTree, theirs: { commit } }
    return makeCompareReport({ machine, settings, ...sides, cases, left_out })
  })
}

/** In this order: a lookup and a release need what was taken before them. */
const subjects: readonly Subject[] = [
  allocating(sequential),
  {
    name: 'lookup',
    prepare: async ({ held }, count) => {
      const inTurn = shuffle(held)
      const repeated = Array.from({ length: count }, (_, at) => inTurn[at % inTurn.length] as Held)
      return { requests: heldCases.lookup(repeated) }
    },
  },
  {
    name: 'release',
    uses_held: true,
    prepare: async (side, count) => {
      const inTurn = shuffle(side.held)
      side.held = inTurn.slice(count)
      return { requests: heldCases.release(inTurn.slice(0, count)) }
    },
  },
  ...allocationCases.map(allocating),
  allocating(bulk),
]

function allocating(one: AllocationCase): Subject {
  return {
    name: `allocate ${one.name}`,
    addresses: one.addresses,
    async prepare(side, count) {
      const block = await side.maker.makeTop(one.block)
      const requests = allocationRequests(one, { block, count })
      if (one !== sequential) return { requests }
      const { scope_id } = block
      const keep: Prepared['keep'] = ({ id: ids = [], address: addresses = [] }) => {
        for (const [at, id] of ids.entries()) {
          side.held.push({ id, address: addresses[at] ?? '', scope_id })
        }
      }
      return { requests: { ...requests, collect: ['address', 'id'] }, keep }
    },
  }
}

/**
 * Measures everything once on both sides, which says how many requests a measurement has. What the
 * other commit does not understand is left out.
 */
async function warmUp(comparison: Comparison) {
  const { ours, theirs, settings } = comparison
  const seconds = Math.max(1, settings.seconds)
  const count = Math.ceil(ratePerSecondMax * 2 * seconds)
  const sized: Sized[] = []
  const left_out: { name: string; reason: string }[] = []
  const work = async (subject: Subject, side: Side) => {
    const prepared = await subject.prepare(side, count)
    return runRequests(comparison, { side, prepared, seconds, warmup_seconds: seconds })
  }
  for (const subject of subjects) {
    const { per_s, connections } = await work(subject, ours)
    try {
      const rate = (per_s + (await work(subject, theirs)).per_s) / 2
      const turns = Math.max(2, Math.round((rate * settings.seconds) / connections))
      const countMax = subject.uses_held ? sized[0]?.count : undefined
      sized.push({ subject, count: Math.min(turns * connections, countMax ?? Infinity) })
    } catch (error) {
      if (subject.name === coreCase) throw error
      left_out.push({ name: subject.name, reason: (error as Error).message })
      say(`${subject.name} is left out: ${(error as Error).message}`)
    }
  }
  for (const side of [ours, theirs]) side.held = []
  return { sized, left_out }
}

/** Everything in each round; then the core case alone, for as long as its ratio is unsure. */
async function measureRounds(comparison: Comparison, sized: readonly Sized[]) {
  const { ours, theirs, settings } = comparison
  const cases = new Map(sized.map(({ subject }) => [subject.name, [] as RoundRates[]]))
  const isSure = () => {
    const { ratio_low, ratio_high } = compareRates(cases.get(coreCase) ?? [])
    if (ratio_low === null || ratio_high === null) return false
    return (ratio_high - ratio_low) / 2 <= marginMax
  }
  for (let number = 1; number <= settings.rounds_max; number++) {
    const isCoreOnly = number > settings.rounds
    if (isCoreOnly && isSure()) break
    for (const one of sized.slice(0, isCoreOnly ? 1 : sized.length)) {
      cases.get(one.subject.name)?.push(await measureSubject(comparison, one, number))
    }
    for (const side of [ours, theirs]) side.held = []
  }
  return cases
}

/**
 * One subject in one round. The sides take turns in an order in which a drift of the machine,
 * even one that grows, hits both alike; in every second round they change places.
 */
async function measureSubject(
  comparison: Comparison,
  { subject, count }: Sized,
  number: number,
): Promise<RoundRates> {
  const { ours, theirs, databaseUrl } = comparison
  const [a, b] = number % 2 === 1 ? [ours, theirs] : [theirs, ours]
  const order = [a, b, b, a, b, a, a, b]
  const slices = []
  for (const side of order) slices.push({ side, prepared: await subject.prepare(side, count) })
  // The first write to a page behind a checkpoint costs more: both are that far.
  await query(databaseUrl, 'checkpoint')
  const rates = { ours: [] as number[], theirs: [] as number[] }
  for (const slice of slices) {
    const times = { seconds: patienceSeconds, warmup_seconds: 0 }
    const { per_s } = await runRequests(comparison, { ...slice, ...times })
    rates[slice.side.name].push(Math.round(per_s * (subject.addresses ?? 1)))
  }
  const { ratio } = compareRates([rates])
  say(`round ${number}, ${subject.name}: ${ratio.toFixed(3)} (${shown(rates)})`)
  return rates
}

const shown = (rates: RoundRates) =>
  Object.entries(rates)
    .map(([name, all]) => `${name} ${all.join(' ')}`)
    .join(', ')

async function runRequests(
  { load, settings }: Comparison,
  given: { side: Side; prepared: Prepared; seconds: number; warmup_seconds: number },
): Promise<JobResult & { connections: number }> {
  const { side, prepared, seconds, warmup_seconds } = given
  const { requests, keep } = prepared
  const { connections = settings.clients } = requests
  const result = await load.run({
    ...address(side.server),
    ...requests,
    returns_collected: keep !== undefined,
    connections,
    seconds,
    warmup_seconds,
  })
  if (result.per_s === 0) throw new Error(`${requests.path}: nothing was measured`)
  keep?.(result.collected)
  return { ...result, connections }
}
