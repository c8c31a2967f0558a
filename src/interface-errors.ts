/** What can go wrong with MAC addresses and interfaces: a part of the catalogue in errors.ts. */
export const interfaceErrors = {
  mac_range_not_found: {
    status: 404,
    title: 'MAC range not found',
    advice: 'List the MAC ranges, or create it first.',
  },
  mac_not_found: {
    status: 404,
    title: 'MAC address not found',
    advice: 'Look it up by address; released ones are found with `state=all`.',
  },
  mac_range_overlaps: {
    status: 409,
    title: 'The MAC range overlaps another one',
    advice: 'Choose other MACs; the range in which one lies is found with `contains`.',
  },
  mac_range_in_use: {
    status: 409,
    title: 'Somebody has MAC addresses of the range',
    advice: 'Release what `conflicts` names first, or choose another range.',
  },
  mac_range_full: {
    status: 409,
    title: 'The MAC range has no free address',
    advice: 'Release some, wait for those that were released, or use another range.',
  },
  no_mac_range: {
    status: 409,
    title: 'No MAC range serves the project',
    advice: 'Create a MAC range, or name the MAC address.',
  },
  mac_needs_network: {
    status: 409,
    title: 'The range gives out each MAC once on a network, and the request names none',
    advice: 'Send the network on which the MAC will be.',
  },
  mac_taken: {
    status: 409,
    title: 'Somebody has the MAC address',
    advice: 'Choose another, or leave it out to get the next one of a range.',
  },
  mac_in_use: {
    status: 409,
    title: 'The MAC address is that of an interface',
    advice: 'Delete the interface, which releases it.',
  },
  mac_waits: {
    status: 409,
    title: 'The MAC address was released not long ago',
    advice: 'Choose another. Who had it last can take it back by the same `owner_id`.',
  },
  mac_forbidden: {
    status: 409,
    title: 'The MAC address is forbidden in its range',
    advice: 'Choose another, or change what is `forbidden` in the range.',
  },
  mac_outside_range: {
    status: 409,
    title: 'The MAC address is not in the range',
    advice: 'Leave `range_id` out, or choose a MAC of the range.',
  },
  network_in_use: {
    status: 409,
    title: 'Interfaces or MAC addresses are still on the network',
    advice: 'Delete what `conflicts` names first.',
  },
  interface_not_found: {
    status: 404,
    title: 'Interface not found',
    advice: 'List the interfaces; it may have been deleted.',
  },
  allowed_address_not_found: {
    status: 404,
    title: 'The interface has no such allowed address',
    advice: 'List the allowed addresses of the interface.',
  },
  interface_exists: {
    status: 409,
    title: 'There is an interface of this id',
    advice: 'Use it, change it with PATCH, or leave `id` out to get a new one.',
  },
  client_id_taken: {
    status: 409,
    title: 'Another interface of the network is known by the client identifier',
    advice: 'Find it with `client_id`, and let it go there first.',
  },
  duid_taken: {
    status: 409,
    title: 'Another interface of the network is known by the DUID, and by the IAID or any',
    advice: 'Find it with `duid`; give each interface of the machine its own `iaid`.',
  },
  interface_without_network: {
    status: 409,
    title: 'The interface is on no network',
    advice: 'Give it an address through v0.1 or v1.0, which brings it to a network.',
  },
  allowed_address_exists: {
    status: 409,
    title: 'The interface is allowed the address already',
    advice: 'Change its role with PATCH.',
  },
  allowed_address_taken: {
    status: 409,
    title: 'Another interface of the network is allowed the address, and one of them exclusively',
    advice: 'Choose another address, or give each holder a role: `primary`, `secondary`, `shared`.',
  },
  primary_taken: {
    status: 409,
    title: 'Another interface of the network is the primary holder of the address',
    advice: 'Make this one `secondary`, or change the role of the other one first.',
  },
} as const
