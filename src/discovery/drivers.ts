import type { DiscoveryConfig } from './config.ts'
import type { CreateDriver } from './driver.ts'

/** Those that there are, loaded when asked for; another one is added here, and to the configuration. */
export const drivers: Readonly<Record<DiscoveryConfig['driver'], () => Promise<CreateDriver>>> = {
  builtin: async () => (await import('./builtin/builtin.ts')).createBuiltin,
  dnsmasq: async () => (await import('./dnsmasq/dnsmasq.ts')).createDnsmasq,
  kea: async () => (await import('./kea/kea.ts')).createKea,
}
