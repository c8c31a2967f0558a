import type { IpVersion } from '../../ip/address.ts'
import type { Ours } from './configuration.ts'
import type { Control } from './control.ts'

/** A kea-dhcp4 or kea-dhcp6. */
export type KeaServer = {
  readonly version: IpVersion
  /** For messages. */
  readonly name: string
  readonly control: Control
  /**
   * Lets it serve these subnets and no others of Melange's; starts it, if that is ours to do.
   *
   * @throws {KeaRefused} if Kea refuses
   */
  configure(ours: Ours): Promise<void>
  /** Where its leases are (memfile); known once it is configured. */
  leaseFile(): string
  /** Where it says who asked in vain; none if it does not. */
  readonly failureFiles: readonly string[]
  problems(): readonly string[]
  stop(): Promise<void>
}
