import { createBuiltin } from './builtin/driver.ts'
import type { DiscoveryConfig } from './config.ts'
import { createDnsmasq } from './dnsmasq/driver.ts'
import type { CreateDriver } from './driver.ts'
import { createKea } from './kea/driver.ts'

/** Those that there are; another one is added here, and to the configuration. */
export const drivers: Readonly<Record<DiscoveryConfig['driver'], CreateDriver>> = {
  builtin: createBuiltin,
  dnsmasq: createDnsmasq,
  kea: createKea,
}
