import { eui64 } from './eui64.ts'
import type { AddressGenerator } from './generator.ts'
import { stablePrivate } from './stable-private.ts'
import { tenant } from './tenant.ts'

/** The generators that are built in, by their names in a policy. */
export const builtinGenerators = {
  eui64,
  stable_private: stablePrivate,
  tenant,
} as const satisfies Record<string, AddressGenerator>
