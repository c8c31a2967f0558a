/** What can go wrong with floating IPs and NAT mappings: a part of the catalogue in errors.ts. */
export const associationErrors = {
  floating_ip_not_found: {
    status: 404,
    title: 'Floating IP not found',
    advice: 'List the floating IPs; it may have been released.',
  },
  nat_mapping_not_found: {
    status: 404,
    title: 'NAT mapping not found',
    advice: 'List the NAT mappings; it goes when one of its allocations ends.',
  },
  floating_ip_exists: {
    status: 409,
    title: 'There is a floating IP of this id',
    advice: 'Use it, change it with PATCH, or leave `id` out to get a new one.',
  },
  nat_mapping_exists: {
    status: 409,
    title: 'The two allocations are mapped already',
    advice: 'Use the mapping that is there.',
  },
} as const
