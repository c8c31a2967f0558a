import { formatMac } from '../src/ip/mac.ts'
import { allocationCases, allocationRequests, sequential, shuffle } from './cases.ts'
import { type Contest, type ContestSettings, type Entrant, runContests } from './contests.ts'
import { BlockMaker, type FilledBlock, slashEight } from './fill.ts'
import { withoutEnd } from './measure.ts'
import { type BenchServer, query } from './setup.ts'

/** Requests that name a thing each, in one measurement: more than it can send. */
const namedMax = 60_000

/** MAC addresses against IP addresses, and ranges of which much is taken against empty ones. */
export function benchMacs(settings: ContestSettings) {
  return runContests('macs', settings, async ({ server, load, databaseUrl }) => {
    const maker = new BlockMaker(server, load)
    const ranges = new RangeMaker(server)
    const taken = settings.quick ? 20_000 : 1_000_000
    const empty = { next: await ranges.make(), random: await ranges.make('random') }
    const full = { next: await ranges.make(), random: await ranges.make('random') }
    for (const { id } of Object.values(full)) await fill(databaseUrl, id, taken)
    const block = async (strategy?: 'random') => {
      const wanted = { kind: slashEight, fill: 0 as const, count: 1 }
      const [made] = await maker.make(strategy ? { ...wanted, strategy } : wanted)
      if (!made) throw new Error('a block was not made')
      return made
    }
    const addresses = { next: await block(), random: await block('random') }
    const held = { macs: [] as string[], addresses: [] as string[] }
    const keep =
      (place: keyof typeof held): NonNullable<Entrant['keep']> =>
      ({ id = [] }) =>
        void held[place].push(...id)
    const release = (place: keyof typeof held, path: string): Entrant => ({
      name: `release of ${place}`,
      method: 'DELETE',
      path: `${path}/$value`,
      values: shuffle(held[place].splice(0, Math.ceil(held[place].length / 2))),
      times: 1,
      status: 200,
    })
    const certain = async (): Promise<Entrant> => {
      const [one] = allocationCases.filter(({ name }) => name === 'specific')
      if (!one) throw new Error('there is no case of certain addresses')
      const requests = allocationRequests(one, { block: await block(), count: namedMax })
      return { ...requests, name: 'certain address' }
    }
    const many = `${taken} taken`
    const contests: Contest[] = [
      {
        name: 'next',
        ours: () => ({
          ...anyMac('next MAC', empty.next),
          collect: ['address', 'id'],
          keep: keep('macs'),
        }),
        theirs: () => ({
          ...nextAddress('next address', addresses.next),
          collect: ['address', 'id'],
          keep: keep('addresses'),
        }),
      },
      {
        name: 'release',
        ours: () => release('macs', '/v2/macs'),
        theirs: () => release('addresses', '/v2/allocations'),
      },
      {
        name: 'random',
        ours: () => anyMac('random MAC', empty.random),
        theirs: () => nextAddress('random address', addresses.random),
      },
      {
        name: 'certain',
        ours: async () => certainMacs('certain MAC', await ranges.make()),
        theirs: certain,
      },
      {
        name: `next, ${many}`,
        ours: () => anyMac(`next MAC, ${many}`, full.next),
        theirs: () => anyMac('next MAC', empty.next),
      },
      {
        name: `random, ${many}`,
        ours: () => anyMac(`random MAC, ${many}`, full.random),
        theirs: () => anyMac('random MAC', empty.random),
      },
    ]
    return contests
  })
}

type Range = { readonly id: string; readonly first: bigint }

/** Ranges of 2^24 MACs, one behind the other. */
class RangeMaker {
  readonly #server: BenchServer
  #made = 0

  constructor(server: BenchServer) {
    this.#server = server
  }

  async make(strategy = 'sequential'): Promise<Range> {
    const first = (0x525400n + BigInt(this.#made++) * 4n) << 24n
    const { url, token } = this.#server
    const answer = await fetch(`${url}/v2/mac-ranges`, {
      method: 'POST',
      headers: { 'x-auth-token': token, 'content-type': 'application/json' },
      body: JSON.stringify({ prefix: `${formatMac(first)}/24`, strategy }),
    })
    if (answer.status !== 201) throw new Error(await answer.text())
    return { id: ((await answer.json()) as { id: string }).id, first }
  }
}

const owner = '"project_id":"measured","owner_type":"instance","owner_id":"vm-########"'

const anyMac = (name: string, { id }: Range): Entrant => ({
  name,
  method: 'POST',
  path: '/v2/macs',
  body: `{"range_id":"${id}",${owner}}`,
  status: 201,
})

/** Scattered, so that each cuts a free run in two. */
function certainMacs(name: string, { first }: Range): Entrant {
  const values = Array.from({ length: namedMax }, (_, index) => {
    return formatMac(first + BigInt((Math.imul(index + 1, 0x9e3779b1) >>> 10) * 4))
  })
  return {
    name,
    method: 'POST',
    path: '/v2/macs',
    body: `{"address":"$value",${owner}}`,
    values: [...new Set(values)],
    times: 1,
    status: 201,
  }
}

const nextAddress = (name: string, block: FilledBlock): Entrant => ({
  ...allocationRequests(sequential, { block, count: withoutEnd }),
  name,
})

/** Takes the first half of so many MACs one behind the other, and of what follows every second one. */
async function fill(databaseUrl: string, range: string, taken: number): Promise<void> {
  await query(databaseUrl, 'insert into mac_pools (id, range_id, held) values ($1, $1, $2)', [
    range,
    taken,
  ])
  await query(
    databaseUrl,
    `insert into macs (id, mac, range_id, pool_id, project_id, owner_type, owner_id, started_at)
     select gen_random_uuid(), r.first + n + greatest(0, n - $2::int / 2), r.id, r.id, 'others',
       'instance', 'vm-' || n, '2000-01-01'
     from mac_ranges r, generate_series(0, $2::int - 1) n where r.id = $1`,
    [range, taken],
  )
  await query(databaseUrl, 'select fill_mac_pools(array[$1::uuid])', [range])
}
