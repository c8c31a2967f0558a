/** What can go wrong with floating IPs and NAT mappings: a part of the catalogue in errors.ts. */
export const floatingIpErrors = {
  floating_ip_not_found: {
    status: 404,
    title: 'Floating IP not found',
    advice: 'List the floating IPs; it may have been released.',
  },
  floating_ip_exists: {
    status: 409,
    title: 'There is a floating IP of this id',
    advice: 'Use it, change it with PATCH, or leave `id` out to get a new one.',
  },
  private_allocation_unfit: {
    status: 409,
    title: 'A floating IP cannot point at this allocation',
    advice:
      'Use the allocation of a single address of the same IP version, in a private address scope.',
  },
  private_allocation_associated: {
    status: 409,
    title: 'The allocation has another floating IP',
    advice: 'Let that one point elsewhere or at nothing first, or use another allocation.',
  },
  nat_mapping_not_found: {
    status: 404,
    title: 'NAT mapping not found',
    advice: 'List the NAT mappings; it goes when one of its allocations ends.',
  },
  nat_mapping_exists: {
    status: 409,
    title: 'The two allocations are mapped already',
    advice: 'Use the mapping that is there.',
  },
} as const
