import { sql } from '../../../src/db/sql.ts'
import { IpamError } from '../../../src/errors.ts'
import { allocateEach } from '../../../src/resources/allocations/allocator-store.ts'
import {
  changeHold,
  reclaimDue,
  restoreAllocation,
} from '../../../src/resources/allocations/hold-store.ts'
import { prepare } from '../../../src/resources/allocations/prepare-store.ts'
import { readWanted } from '../../../src/resources/allocations/read-request.ts'
import type { AllocationRequest } from '../../../src/resources/allocations/schema.ts'
import { releaseEach, updateAllocation } from '../../../src/resources/allocations/store.ts'
import { purposes } from './rules.ts'
import {
  bitsOf,
  type Lives,
  type Operation,
  projects,
  readCidr,
  someAddress,
  somePrefix,
} from './world.ts'

// Allocations and holds, their ends, and what comes after.

const owners = ['vm-1', 'vm-2', 'vm-3'] as const
const macs = ['52:54:00:12:34:56', '52:54:00:00:00:01'] as const
const waiting = '(select allocation_id as id, address from quarantine)'

export const allocationOperations: Readonly<Record<string, Operation>> = {
  allocate: { weight: 40, run: allocate },
  release: { weight: 18, run: release },
  'confirm or renew': { weight: 5, run: renew },
  rename: {
    weight: 1,
    run: async lives => {
      const one = await lives.find('allocations')
      if (one) await updateAllocation(lives.db, { id: one.id }, { name: lives.name() })
    },
  },
  restore: { weight: 4, run: restore },
  'end quarantine': {
    weight: 2,
    run: async lives => {
      const one = await lives.find(waiting)
      if (one) await lives.db.query(sql`select end_quarantine(${[one.id]})`)
    },
  },
  advance: {
    weight: 6,
    run: async ({ db, random }) => {
      const seconds = random.pick([5, 40, 70, 4000]) ?? 0
      await db.query(sql`update lives_clock set at = at + make_interval(secs => ${seconds})`)
    },
  },
  reclaim: {
    weight: 3,
    run: async ({ db, random }) => {
      await reclaimDue(db, { blocks_max: random.between(1, 4), at_most: random.between(1, 8) })
    },
  },
}

async function allocate(lives: Lives): Promise<void> {
  const block = await lives.find('blocks', 'cidr')
  const network = await lives.find('networks')
  const bodies: AllocationRequest[] = []
  for (let n = lives.random.between(1, 4); n > 0; n--) {
    const isOfNetwork = network && lives.random.below(5) === 0
    if (isOfNetwork) bodies.push({ ...wish(lives), ...ofNetwork(lives), network_id: network.id })
    else if (block)
      bodies.push({ ...wish(lives), ...ofBlock(lives, block.text), block_id: block.id })
  }
  const wanted = await Promise.all(bodies.map(body => prepare(lives.db, readWanted(body), body)))
  if (wanted.length === 0) return
  for (const outcome of await allocateEach(lives.db, wanted)) {
    if (outcome instanceof IpamError) lives.note(`one of a batch: ${outcome.code}`)
    else lives.note(outcome === 'again' ? 'one of a batch: again' : 'one of a batch: allocated')
  }
}

function wish(lives: Lives) {
  const { random } = lives
  const purpose = lives.sometimes(random.pick(purposes), 3)
  const lifetime_seconds = lives.sometimes(random.between(1, 100), 3)
  const isUnique = random.below(8) === 0
  return {
    project_id: random.pick(projects) ?? '',
    owner_type: 'instance',
    owner_id: random.pick(owners) ?? '',
    ...(purpose && { purpose }),
    ...(lifetime_seconds && { lifetime_seconds }),
    ...(isUnique && { one_per_owner: true }),
    ...(random.below(3) === 0 && { mac_address: random.pick(macs) ?? '' }),
  }
}

function ofNetwork(lives: Lives): Partial<AllocationRequest> {
  return {
    families: lives.random.pick([[4], [6], [4, 6]] as (4 | 6)[][]) ?? [4],
    partial: lives.random.below(2) === 0,
  }
}

function ofBlock(lives: Lives, cidr: string): Partial<AllocationRequest> {
  const { random } = lives
  const prefix = readCidr(cidr)
  const length = Math.min(bitsOf(prefix), prefix.length + random.between(1, 8))
  const wishes: (() => Partial<AllocationRequest>)[] = [
    () => ({}),
    () => ({ one_per_owner: false, count: random.between(1, 8) }),
    () => ({ one_per_owner: false, count: random.between(1, 8), contiguous: true }),
    () => ({ address: someAddress(random, cidr) }),
    () => ({ address: someAddress(random, cidr), fallback: 'next' }),
    () => ({ address: somePrefix(random, cidr, length) }),
    () => ({ prefix_length: random.below(2) === 0 ? length : bitsOf(prefix) - random.below(4) }),
  ]
  return random.pick(wishes)?.() ?? {}
}

async function release(lives: Lives): Promise<void> {
  const found = [await lives.find('allocations'), await lives.find('allocations')]
  const ids = [...new Set(found.flatMap(one => one?.id ?? []))]
  await releaseEach(
    lives.db,
    ids.map(id => ({ id })),
  )
}

async function renew(lives: Lives): Promise<void> {
  const held = await lives.find('(select * from allocations where expires_at is not null)')
  const lifetime_seconds = lives.sometimes(3600) ?? null
  if (held) await changeHold(lives.db, { id: held.id, lifetime_seconds })
}

async function restore(lives: Lives): Promise<void> {
  const ended = await lives.find(waiting)
  if (ended) await restoreAllocation(lives.db, ended.id, lives.sometimes(60) ?? null)
}
