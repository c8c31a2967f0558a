import { createBuiltin } from './builtin/builtin.ts'
import type { DiscoveryConfig } from './config.ts'
import type { CreateDriver } from './driver.ts'

/** Those that there are; another one is added here, and to the configuration. */
export const drivers: Readonly<Partial<Record<DiscoveryConfig['driver'], CreateDriver>>> = {
  builtin: createBuiltin,
}
