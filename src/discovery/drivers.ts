import { createBuiltin } from './builtin/builtin.ts'
import type { DiscoveryConfig } from './config.ts'
import { createDnsmasq } from './dnsmasq/dnsmasq.ts'
import type { CreateDriver } from './driver.ts'
import { createKea } from './kea/kea.ts'

/** Those that there are; another one is added here, and to the configuration. */
export const drivers: Readonly<Record<DiscoveryConfig['driver'], CreateDriver>> = {
  builtin: createBuiltin,
  dnsmasq: createDnsmasq,
  kea: createKea,
}
