import type { PolicyRulesRequest } from '../../../src/resources/policies/schema.ts'
import { type Random, someOf } from '../../helpers/random.ts'

// Rules of policies as chance has them, over the addresses that lives are led on.

type Words = { offsets?: { from: number; to: number }[]; first?: number; last?: number }

const named = ['10.0.0.16/30', '10.0.0.40', '10.0.0.128/25', '192.0.2.4/31', '2001:db8::8'].concat([
  '2001:db8::/120',
  '255.255.255.248/30',
  'ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/127',
])

function words(random: Random): Words & { addresses?: string[] } {
  const offset = () => random.between(-12, 30)
  return {
    ...(random.below(2) && {
      offsets: Array.from({ length: random.below(4) }, () => ({ from: offset(), to: offset() })),
    }),
    ...(random.below(3) === 0 && { first: random.below(6) }),
    ...(random.below(3) === 0 && { last: random.below(6) }),
    ...(random.below(2) && { addresses: someOf(random, named, 3) }),
  }
}

export const purposes = ['web', 'db', 'dhcp'] as const

/** Each rule is stated about every other time. */
export function someRules(random: Random): PolicyRulesRequest {
  const octets = Array.from({ length: 256 }, (_, octet) => octet)
  const few = [0, 1, 2, 3, 5, 8, 13, 128, 129, 254, 255]
  // Most octets of all are excluded now and then, so that whole runs have none that may be given.
  const most =
    random.below(4) === 0 ? octets.filter(octet => octet % 16 > 2) : someOf(random, few, 5)
  const states = <T>(rule: () => T, often = 2) => (random.below(often) === 0 ? rule() : undefined)
  const rules = {
    exclusions: states(() => ({ ...words(random), ...(random.below(2) && { last_octets: most }) })),
    purposes: states(() =>
      someOf(random, purposes, 2).map(purpose => ({ purpose, ...words(random) })),
    ),
    strategy: states(
      () => random.pick(['sequential', 'random', 'least_recently_used'] as const),
      4,
    ),
    quarantine_seconds: states(() => random.pick([0, 30, 3600])),
    quarantine_reuse: states(() => random.pick(['never', 'when_full'] as const)),
    ipv6_generator: states(
      () => ({ kind: random.pick(['sequential', 'random', 'eui64'] as const) }),
      6,
    ),
    utilisation_thresholds: states(() => [80, 50]),
  }
  const stated = Object.entries(rules).filter(([, rule]) => rule !== undefined)
  return Object.fromEntries(stated) as PolicyRulesRequest
}
