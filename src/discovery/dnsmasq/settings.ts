import { Type } from 'typebox'

/** What can be set of the driver `dnsmasq`. */
export const dnsmasqSettings = Type.Object(
  {},
  { additionalProperties: false, default: {}, description: 'The driver `dnsmasq`.' },
)
