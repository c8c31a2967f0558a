/** What can go wrong with routes and DHCP options: a part of the catalogue in errors.ts. */
export const configurationErrors = {
  block_route_not_found: {
    status: 404,
    title: 'The block has no such route',
    advice: 'List the routes of the block; it may have been deleted.',
  },
  block_route_exists: {
    status: 409,
    title: 'The block has a route to this destination',
    advice: 'Change that route, or choose another destination.',
  },
  block_route_limit_reached: {
    status: 409,
    title: 'The block has as many routes as a block can have',
    advice: 'Delete routes that are not needed, or join their destinations.',
  },
  dhcp_option_not_found: {
    status: 404,
    title: 'The DHCP option is not set there',
    advice:
      'List the options that are set there; see the configuration of a block for all that reach it.',
  },
  dhcp_option_limit_reached: {
    status: 409,
    title: 'As many DHCP options are set there as there can be',
    advice: 'Delete options that are not needed.',
  },
} as const
