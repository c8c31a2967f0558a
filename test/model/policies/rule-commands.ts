import fc from 'fast-check'
import { expect } from 'vitest'
import { unbounded } from '../../../src/access/bound-store.ts'
import { publicScopeId } from '../../../src/resources/address-scopes/schema.ts'
import { updateAddressScope } from '../../../src/resources/address-scopes/store.ts'
import { updateBlock } from '../../../src/resources/blocks/update-store.ts'
import { updateNetwork } from '../../../src/resources/networks/store.ts'
import { resolveForBlocks } from '../../../src/resources/policies/rules-store.ts'
import type { PolicyRulesRequest } from '../../../src/resources/policies/schema.ts'
import {
  createPolicy,
  deletePolicy,
  listExceptions,
  updatePolicy,
} from '../../../src/resources/policies/store.ts'
import { bitsOf } from '../space.ts'
import type { House, Rules } from './house.ts'
import { rulesOf } from './rules.ts'
import { addressesOf, hasExcludedOctet, holds, isNamedByExclusions } from './space.ts'
import { type Command, command, expectAnswer, outcomeOf, pick, type Real } from './world.ts'

/** So many policies there are at most. */
const policiesMax = 4
const toRequest = (rules: Rules) => rules as PolicyRulesRequest

async function addPolicy(rules: Rules, house: House, { db }: Real): Promise<string> {
  const name = `policy ${house.tick}`
  const { id } = await createPolicy(db, { name, rules: toRequest(rules) })
  house.policies = [...house.policies, { id, rules }]
  return id
}

type Target = { readonly kind: 'scope' | 'network' | 'block'; readonly index: number }
const target: fc.Arbitrary<Target> = fc.record({
  kind: fc.constantFrom('scope', 'network', 'block', 'block', 'block'),
  index: fc.nat(50),
})

async function attach({ kind, index }: Target, policy_id: string | null, house: House, real: Real) {
  const { db } = real
  if (kind === 'scope') {
    await updateAddressScope(db, { id: publicScopeId }, { policy_id })
    house.scope_policy_id = policy_id
  } else if (kind === 'network') {
    const network = pick(house.networks, index)
    if (!network) return
    await updateNetwork(db, { id: network.id }, { policy_id })
    house.networks = house.networks.map(one => (one === network ? { ...one, policy_id } : one))
  } else {
    const block = pick(house.blocks, index)
    if (!block) return
    await updateBlock(db, { id: block.id }, { policy_id })
    house.replace(block.id, { policy_id })
  }
}

const usesOf = (house: House, policy_id: string) =>
  [house.scope_policy_id, ...[...house.networks, ...house.blocks].map(one => one.policy_id)].filter(
    id => id === policy_id,
  ).length

/** Compares what is reported as held in spite of the rules of each policy. */
async function expectExceptions(house: House, { db }: Real): Promise<void> {
  for (const policy of house.policies) {
    const found = await listExceptions(db, policy.id, {
      limit: 1000,
      after: null,
      bound: unbounded,
    })
    const expected = house.held.filter(one => {
      const block = house.find(one.block_id)
      if (!block || house.ruleFor(block, 'exclusions')?.policy_id !== policy.id) return false
      const isSingle = one.prefix.length === bitsOf(one.prefix)
      return addressesOf(block)
        .filter(value => holds(one.prefix, value))
        .some(
          value =>
            isNamedByExclusions(house, block, value) ||
            (isSingle && hasExcludedOctet(house, block, value)),
        )
    })
    expect(found.map(({ id }) => id)).toEqual(expected.map(({ id }) => id).sort())
  }
}

/** Compares which policy each rule of each block comes from. */
async function expectSources(house: House, { db }: Real): Promise<void> {
  const resolved = await resolveForBlocks(
    db,
    house.blocks.map(({ id }) => id),
  )
  for (const block of house.blocks) {
    const rules = Object.entries(resolved.get(block.id) ?? {})
    const found = rules.map(([rule, { source }]) => [rule, source.policy_id])
    const names = new Set(house.chainOf(block).flatMap(policy => Object.keys(policy.rules)))
    const expected = [...names].map(rule => {
      return [rule, house.ruleFor(block, rule as keyof Rules)?.policy_id]
    })
    expect(found.sort()).toEqual(expected.sort())
  }
}

export const ruleCommands = (addresses: readonly string[]): fc.Arbitrary<Command>[] => {
  const rules = rulesOf(addresses)
  const attachNew = command(
    'attachNew',
    fc.record({ rules, target }),
    async ({ rules: given, target: to }, house, real) => {
      if (house.policies.length >= policiesMax) return
      await attach(to, await addPolicy(given, house, real), house, real)
    },
  )
  const attachOld = command(
    'attachOld',
    fc.record({ target, policy: fc.option(fc.nat(10), { freq: 3 }) }),
    async ({ target: to, policy }, house, real) => {
      const one = policy === null ? undefined : pick(house.policies, policy)
      await attach(to, one?.id ?? null, house, real)
    },
  )
  const change = command(
    'updatePolicy',
    fc.record({ policy: fc.nat(10), rules: fc.option(rules, { freq: 5 }) }),
    async ({ policy, rules: given }, house, { db }) => {
      const one = pick(house.policies, policy)
      if (!one) return
      const name = `policy ${house.tick}`
      await updatePolicy(db, { id: one.id }, given ? { rules: toRequest(given) } : { name })
      if (!given) return
      house.policies = house.policies.map(each => (each === one ? { ...one, rules: given } : each))
    },
  )
  const remove = command('deletePolicy', fc.nat(10), async (policy, house, { db }) => {
    const one = pick(house.policies, policy)
    if (!one) return
    const code = usesOf(house, one.id) > 0 ? 'policy_in_use' : null
    if (!expectAnswer(await outcomeOf(deletePolicy(db, { id: one.id })), code)) return
    house.policies = house.policies.filter(each => each !== one)
  })
  const report = command('report', fc.constant(0), async (_, house, real) => {
    await expectExceptions(house, real)
    await expectSources(house, real)
  })
  return [attachNew, attachNew, attachNew, attachOld, attachOld, change, change, remove, report]
}
