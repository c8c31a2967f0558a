/** Kinds of messages, in option 53 (RFC 2132 §9.6). */
export const messageTypes = {
  discover: 1,
  offer: 2,
  request: 3,
  decline: 4,
  ack: 5,
  nak: 6,
  release: 7,
  inform: 8,
} as const

/** Whether a message is one of a client or one of a server (RFC 951 §3). */
export const operations = { request: 1, reply: 2 } as const

/** UDP ports (RFC 2131 §4.1). */
export const ports = { server: 67, client: 68 } as const

/** The flag that asks for broadcast answers, of the 16 bits of `flags` (RFC 2131 §2). */
export const broadcastFlag = 0x8000

/** A lease without end (RFC 2131 §3.3). */
export const infinite = 0xffff_ffff

/** The options that this server reads or makes itself; options.ts has the others. */
export const codes = {
  pad: 0,
  subnetMask: 1,
  router: 3,
  hostName: 12,
  vendorOptions: 43,
  requestedAddress: 50,
  leaseTime: 51,
  overload: 52,
  messageType: 53,
  serverIdentifier: 54,
  requestList: 55,
  text: 56,
  messageSizeMax: 57,
  renewalTime: 58,
  rebindingTime: 59,
  vendorClass: 60,
  clientIdentifier: 61,
  tftpServerName: 66,
  bootfileName: 67,
  rapidCommit: 80,
  clientFqdn: 81,
  relayInformation: 82,
  clientArchitecture: 93,
  ipv6OnlyPreferred: 108,
  subnetSelection: 118,
  classlessRoutes: 121,
  tftpServers: 150,
  microsoftRoutes: 249,
  end: 255,
} as const
