import type { Logger } from 'pino'
import { coalesce } from '../coalescer.ts'
import { clientOwner, type ServedHost, type ServedSubnet } from '../dhcp/served.ts'
import { IpamError } from '../errors.ts'
import { parseAddress } from '../ip/address.ts'
import { parsePrefix, prefixHolds } from '../ip/prefix.ts'
import { type Allocated, type Api, ApiFailure, type Outcome } from './api.ts'
import { type Automatic, clientIdOf } from './driver.ts'
import type { Kept } from './keep.ts'
import type { LeaseLog } from './leases.ts'

export type AutomaticOptions = {
  readonly api: Pick<Api, 'allocate' | 'renew'>
  readonly kept: Pick<Kept, 'replica' | 'take'>
  readonly leases: Pick<LeaseLog, 'isSettled'>
  readonly log: Logger
  readonly observe: (wish: 'allocate' | 'renew', result: 'done' | 'refused' | 'unavailable') => void
}

type Wish = Parameters<Automatic['allocate']>[0]
type Answer = ServedHost | 'refused' | 'unavailable'

/** How many wishes one request to the API has, and how many may wait. */
const itemsMax = 500
const waitingMax = 2000
const renewalsMax = 256
/** What was allocated so long ago was not allocated just now. */
const oldMilliseconds = 1000

export function createAutomatic({ api, kept, leases, log, observe }: AutomaticOptions): Automatic {
  const ask = coalesce<object, Outcome>({
    run: items =>
      api.allocate(items).catch(error => {
        if (!(error instanceof ApiFailure && error.isPassing)) throw error
        return items.map(() => ({ status: 503 })) // None is asked for by itself, one after the other.
      }),
    weigh: () => 1,
    lane: () => '',
    lanes: 1,
    batch_weight_max: itemsMax,
    waiting_max: waitingMax,
  })
  let renewals = 0

  /** What the API would say now, a moment before its event comes. */
  function keepAllocated(network_id: string, host: ServedHost, got: Allocated): ServedHost {
    const { id: allocation_id, block_id, address, expires_at } = got
    const others = host.addresses.filter(one => one.allocation_id !== allocation_id)
    const before = host.addresses.find(one => one.allocation_id === allocation_id)
    const withheld_until = before?.withheld_until ?? null
    const own = { allocation_id, block_id, address, expires_at, withheld_until }
    const changed = { ...host, addresses: [...others, own] }
    kept.take([{ type: 'host', network_id, host: changed }], null)
    return changed
  }

  /** What a client had already: renewed, since another server may be about to tell of its release. */
  const renewFound = (found: Allocated, seconds: number): Promise<Allocated> => {
    const left = found.expires_at === null ? null : Date.parse(found.expires_at) - Date.now()
    const isOld = left !== null && left < seconds * 1000 - oldMilliseconds
    return isOld ? api.renew(found.id, seconds) : Promise.resolve(found)
  }

  async function allocate(wish: Wish): Promise<Answer> {
    const id = clientIdOf(wish.client)
    const network = kept.replica.served.get(wish.network_id)
    if (id === null || !network) return 'refused'
    if (!(await leases.isSettled(id))) return 'unavailable'
    for (const subnet of candidates(network.network.subnets, wish)) {
      const item = itemFor(subnet, id, wish)
      const outcome = await ask(item)
      const [found] = outcome.allocations ?? []
      if (found) {
        const got = await renewFound(found, item.lifetime_seconds)
        const known = kept.replica.served.get(wish.network_id)?.hosts.get(id)
        return keepAllocated(wish.network_id, known ?? newHost(id, wish), got)
      }
      const { status, problem } = outcome
      if (status === 429 || status >= 500) return 'unavailable'
      log.info({ client: id, block_id: subnet.block_id, code: problem?.code }, 'no address for it')
    }
    return 'refused'
  }

  /** What the API refuses, or does not answer, is an answer here, too. */
  async function attempt(wish: 'allocate' | 'renew', work: Promise<Answer>): Promise<Answer> {
    const answer = await work.catch(error => {
      if (error instanceof IpamError) return 'unavailable' as const // Too many wait.
      if (!(error instanceof ApiFailure)) throw error
      if (error.isPassing) return 'unavailable' as const
      log.warn({ wish, err: error.message }, 'the API refuses')
      return 'refused' as const
    })
    observe(wish, typeof answer === 'string' ? answer : 'done')
    return answer
  }

  return {
    allocate: wish => attempt('allocate', allocate(wish)),
    async renew({ network_id, host_id, allocation_id, lease_seconds }) {
      if (renewals >= renewalsMax) return 'unavailable'
      renewals += 1
      const renewed = api.renew(allocation_id, lease_seconds).then((got): Answer => {
        const host = kept.replica.served.get(network_id)?.hosts.get(host_id)
        return host ? keepAllocated(network_id, host, got) : 'refused'
      })
      return attempt('renew', renewed).finally(() => {
        renewals -= 1
      })
    },
  }
}

/** Subnets that give addresses to unknown clients, the one where the client is before the others. */
function candidates(subnets: readonly ServedSubnet[], { version, block_id }: Wish): ServedSubnet[] {
  const open = subnets.filter(one => one.version === version && one.unknown_clients !== null)
  return open.toSorted((a, b) => Number(b.block_id === block_id) - Number(a.block_id === block_id))
}

function itemFor(subnet: ServedSubnet, owner_id: string, wish: Wish) {
  const { block_id, cidr, unknown_clients } = subnet
  const { project_id = '', lease_seconds = 0, purpose = null } = unknown_clients ?? {}
  const { client, host_name } = wish
  const prefix = parsePrefix(cidr)?.prefix
  const address = wish.address === null ? null : parseAddress(wish.address)
  const isThere = prefix !== undefined && address !== null && prefixHolds(prefix, address)
  return {
    block_id,
    project_id,
    owner_type: clientOwner,
    owner_id,
    one_per_owner: true,
    lifetime_seconds: Math.min(lease_seconds, wish.lease_seconds ?? lease_seconds),
    ...(purpose !== null && { purpose }),
    ...(isThere && { address: wish.address, fallback: 'next' }),
    ...(host_name !== null && { name: host_name }),
    // Some generators make an address of it.
    ...(client.mac_address !== null && { mac_address: client.mac_address }),
  }
}

const newHost = (id: string, { client, host_name }: Wish): ServedHost => ({
  id,
  type: 'client',
  ...client,
  host_name,
  addresses: [],
  options: [],
})
