/** What the original's configuration said, with what this one adds. */
export type Settings = {
  readonly dns1: string
  readonly dns2: string
  readonly keep_deallocated_ips: boolean
  readonly keep_deallocated_ips_for_days: number
  readonly default_cidr?: string
  readonly ip_allocation_retries: number
  readonly ipv6_generator: 'tenant' | 'eui64'
  readonly page_size: number
  readonly extensions: boolean
  readonly identity_headers: boolean
}
