import { blockRules, grantRules } from './block-rules.ts'
import { decides } from './decides.ts'
import { leaseRules } from './lease-rules.ts'

/**
 * The rules that decide about operations. `project_id` of the target is the project that a thing is of,
 * or shall be of; of a list the project whose things are asked for.
 */
export const operationRules = {
  all_projects: decides(
    'rule:system_reader or rule:service_role',
    'List things of all projects, and not only those of the own.',
    [],
  ),
  'address_scopes:create': decides('rule:project_member', 'Create a private address scope.', [
    'POST /v2/address-scopes',
  ]),
  'address_scopes:list': decides(
    'rule:project_reader_or_service',
    'List address scopes. Shared ones are in every list.',
    ['GET /v2/address-scopes'],
  ),
  'address_scopes:get': decides(
    'rule:project_reader_or_service or None:%(project_id)s',
    'Show an address scope; everybody may see the public one.',
    ['GET /v2/address-scopes/{scope_id}'],
  ),
  'address_scopes:update': decides('rule:project_member', 'Change an address scope.', [
    'PATCH /v2/address-scopes/{scope_id}',
  ]),
  'address_scopes:delete': decides('rule:project_manager', 'Delete an address scope.', [
    'DELETE /v2/address-scopes/{scope_id}',
  ]),
  'networks:create': decides('rule:project_member', 'Create a network.', ['POST /v2/networks']),
  'networks:list': decides('rule:project_reader_or_service', 'List networks.', [
    'GET /v2/networks',
  ]),
  'networks:get': decides('rule:project_reader_or_service or rule:grantee', 'Show a network.', [
    'GET /v2/networks/{network_id}',
  ]),
  'networks:update': decides('rule:project_member', 'Change a network.', [
    'PATCH /v2/networks/{network_id}',
  ]),
  'networks:delete': decides('rule:project_manager', 'Delete a network.', [
    'DELETE /v2/networks/{network_id}',
  ]),
  ...blockRules,
  'block_routes:create': decides('rule:project_member', 'Add a route to a block.', [
    'POST /v2/blocks/{block_id}/routes',
  ]),
  'block_routes:list': decides('rule:project_reader_or_service', 'List the routes of a block.', [
    'GET /v2/blocks/{block_id}/routes',
  ]),
  'block_routes:get': decides('rule:project_reader_or_service', 'Show a route of a block.', [
    'GET /v2/blocks/{block_id}/routes/{route_id}',
  ]),
  'block_routes:update': decides('rule:project_member', 'Change a route of a block.', [
    'PATCH /v2/blocks/{block_id}/routes/{route_id}',
  ]),
  'block_routes:delete': decides('rule:project_member', 'Delete a route of a block.', [
    'DELETE /v2/blocks/{block_id}/routes/{route_id}',
  ]),
  'dhcp_options:list_known': decides('@', 'List the DHCP options that are known by name.', [
    'GET /v2/dhcp-options',
  ]),
  'dhcp_options:list': decides(
    'rule:project_reader_or_service',
    'List the DHCP options of a thing.',
    [
      'GET /v2/address-scopes/{scope_id}/dhcp-options',
      'GET /v2/networks/{network_id}/dhcp-options',
      'GET /v2/blocks/{block_id}/dhcp-options',
      'GET /v2/interfaces/{interface_id}/dhcp-options',
    ],
  ),
  'dhcp_options:get': decides('rule:project_reader_or_service', 'Show a DHCP option of a thing.', [
    'GET /v2/address-scopes/{scope_id}/dhcp-options/{version}/{option}',
    'GET /v2/networks/{network_id}/dhcp-options/{version}/{option}',
    'GET /v2/blocks/{block_id}/dhcp-options/{version}/{option}',
    'GET /v2/interfaces/{interface_id}/dhcp-options/{version}/{option}',
  ]),
  'dhcp_options:set': decides('rule:project_member', 'Set a DHCP option on a thing.', [
    'PUT /v2/address-scopes/{scope_id}/dhcp-options/{version}/{option}',
    'PUT /v2/networks/{network_id}/dhcp-options/{version}/{option}',
    'PUT /v2/blocks/{block_id}/dhcp-options/{version}/{option}',
    'PUT /v2/interfaces/{interface_id}/dhcp-options/{version}/{option}',
  ]),
  'dhcp_options:delete': decides('rule:project_member', 'Set a DHCP option on a thing no longer.', [
    'DELETE /v2/address-scopes/{scope_id}/dhcp-options/{version}/{option}',
    'DELETE /v2/networks/{network_id}/dhcp-options/{version}/{option}',
    'DELETE /v2/blocks/{block_id}/dhcp-options/{version}/{option}',
    'DELETE /v2/interfaces/{interface_id}/dhcp-options/{version}/{option}',
  ]),
  'dhcp:get_network': decides(
    'rule:project_reader_or_service',
    'See a network as machines on it are told of it.',
    ['GET /v2/networks/{network_id}/dhcp'],
  ),
  'dhcp:list_hosts': decides(
    'rule:project_reader_or_service',
    'List the machines of a network, and what they are told.',
    ['GET /v2/networks/{network_id}/dhcp/hosts'],
  ),
  'utilisation:get': decides(
    'rule:project_reader_or_service',
    'See how full blocks and networks are, were and will be.',
    [
      'GET /v2/blocks/{block_id}/utilisation',
      'GET /v2/blocks/{block_id}/utilisation/history',
      'GET /v2/blocks/{block_id}/forecast',
      'GET /v2/networks/{network_id}/utilisation',
      'GET /v2/networks/{network_id}/utilisation/history',
      'GET /v2/networks/{network_id}/forecast',
    ],
  ),
  'policies:create': decides('rule:project_member', 'Create a policy.', ['POST /v2/policies']),
  'policies:list': decides('rule:project_reader_or_service', 'List policies.', [
    'GET /v2/policies',
  ]),
  'policies:get': decides('rule:project_reader_or_service', 'Show a policy.', [
    'GET /v2/policies/{policy_id}',
  ]),
  'policies:update': decides('rule:project_member', 'Change a policy.', [
    'PATCH /v2/policies/{policy_id}',
  ]),
  'policies:delete': decides('rule:project_manager', 'Delete a policy.', [
    'DELETE /v2/policies/{policy_id}',
  ]),
  'policies:list_exceptions': decides(
    'rule:project_reader_or_service',
    'List what is held although a policy excludes it.',
    ['GET /v2/policies/{policy_id}/exceptions'],
  ),
  'allocations:create': decides(
    'rule:project_member_or_service and rule:own_source',
    'Allocate addresses and prefixes.',
    ['POST /v2/allocations', 'POST /v2/allocations/bulk'],
  ),
  'allocations:list': decides(
    'rule:project_reader_or_service',
    'List allocations, and what changed of them.',
    ['GET /v2/allocations', 'GET /v2/allocations/changes'],
  ),
  'allocations:get': decides('rule:project_reader_or_service', 'Show an allocation.', [
    'GET /v2/allocations/{allocation_id}',
  ]),
  'allocations:update': decides('rule:project_member_or_service', 'Change an allocation.', [
    'PATCH /v2/allocations/{allocation_id}',
  ]),
  'allocations:release': decides('rule:project_member_or_service', 'Release allocations.', [
    'DELETE /v2/allocations/{allocation_id}',
    'POST /v2/allocations/release',
  ]),
  'allocations:renew': decides('rule:project_member_or_service', 'Renew holds.', [
    'POST /v2/allocations/{allocation_id}/renew',
    'POST /v2/allocations/renew',
  ]),
  'allocations:confirm': decides('rule:project_member_or_service', 'Confirm a hold.', [
    'POST /v2/allocations/{allocation_id}/confirm',
  ]),
  'allocations:restore': decides(
    'rule:project_member_or_service',
    'Give an address in quarantine back to who had it.',
    ['POST /v2/allocations/{allocation_id}/restore'],
  ),
  'quarantine:list': decides('rule:project_reader_or_service', 'List the addresses that wait.', [
    'GET /v2/quarantine',
  ]),
  'quarantine:end': decides('rule:project_manager', 'Free addresses before their time.', [
    'DELETE /v2/quarantine/{allocation_id}',
    'POST /v2/quarantine/end',
  ]),
  'interfaces:create': decides(
    'rule:project_member_or_service and rule:own_source',
    'Create an interface with its MAC and addresses.',
    ['POST /v2/interfaces'],
  ),
  'interfaces:list': decides(
    'rule:project_reader_or_service',
    'List interfaces, and at which devices they were.',
    ['GET /v2/interfaces', 'GET /v2/interface-history'],
  ),
  'interfaces:get': decides('rule:project_reader_or_service', 'Show an interface.', [
    'GET /v2/interfaces/{interface_id}',
  ]),
  'interfaces:get_configuration': decides(
    'rule:project_reader_or_service',
    'See what the machine of an interface, or a device, is told.',
    [
      'GET /v2/interfaces/{interface_id}/configuration',
      'GET /v2/devices/{device_id}/configuration',
      'GET /v2/devices/{device_id}/network-data',
    ],
  ),
  'interfaces:update': decides('rule:project_member_or_service', 'Change an interface.', [
    'PATCH /v2/interfaces/{interface_id}',
  ]),
  'interfaces:delete': decides(
    'rule:project_member_or_service',
    'Delete an interface, its MAC and its addresses.',
    ['DELETE /v2/interfaces/{interface_id}'],
  ),
  'interfaces:create_addresses': decides(
    'rule:project_member_or_service and rule:own_source',
    'Give an interface more addresses.',
    ['POST /v2/interfaces/{interface_id}/addresses'],
  ),
  'interfaces:release_address': decides(
    'rule:project_member_or_service',
    'Take an address from an interface.',
    ['DELETE /v2/interfaces/{interface_id}/addresses/{allocation_id}'],
  ),
  'device_interfaces:get': decides(
    'rule:project_reader_or_service',
    'Show the interfaces of a device.',
    ['GET /v2/devices/{device_id}/interfaces'],
  ),
  'device_interfaces:set': decides(
    'rule:project_member_or_service and rule:own_source',
    'Give a device just these interfaces.',
    ['PUT /v2/devices/{device_id}/interfaces'],
  ),
  'allowed_addresses:create': decides(
    'rule:project_member_or_service',
    'Allow an interface an address beside its own.',
    ['POST /v2/interfaces/{interface_id}/allowed-addresses'],
  ),
  'allowed_addresses:list': decides(
    'rule:project_reader_or_service',
    'List what interfaces may use beside their own addresses, and might.',
    [
      'GET /v2/allowed-addresses',
      'GET /v2/allowed-address-history',
      'GET /v2/interfaces/{interface_id}/allowed-addresses',
    ],
  ),
  'allowed_addresses:get': decides(
    'rule:project_reader_or_service',
    'Show what an interface may use.',
    ['GET /v2/interfaces/{interface_id}/allowed-addresses/{allowed_id}'],
  ),
  'allowed_addresses:update': decides(
    'rule:project_member_or_service',
    'Change the role of a shared address.',
    ['PATCH /v2/interfaces/{interface_id}/allowed-addresses/{allowed_id}'],
  ),
  'allowed_addresses:delete': decides(
    'rule:project_member_or_service',
    'Allow an interface an address no longer.',
    ['DELETE /v2/interfaces/{interface_id}/allowed-addresses/{allowed_id}'],
  ),
  'macs:create': decides('rule:project_member_or_service', 'Take a MAC address.', [
    'POST /v2/macs',
  ]),
  'macs:list': decides('rule:project_reader_or_service', 'Find who has a MAC address, or had it.', [
    'GET /v2/macs',
  ]),
  'macs:get': decides(
    'rule:project_reader_or_service',
    'Show a MAC address that somebody has or had.',
    ['GET /v2/macs/{mac_id}'],
  ),
  'macs:release': decides('rule:project_member_or_service', 'Release a MAC address.', [
    'DELETE /v2/macs/{mac_id}',
  ]),
  'mac_ranges:create': decides('rule:admin_required', 'Create a range of MAC addresses.', [
    'POST /v2/mac-ranges',
  ]),
  'mac_ranges:list': decides('rule:project_reader_or_service', 'List ranges of MAC addresses.', [
    'GET /v2/mac-ranges',
  ]),
  'mac_ranges:get': decides(
    'rule:project_reader_or_service',
    'Show a range of MAC addresses, and how full it is.',
    ['GET /v2/mac-ranges/{range_id}', 'GET /v2/mac-ranges/{range_id}/utilisation'],
  ),
  'mac_ranges:update': decides('rule:admin_required', 'Change a range of MAC addresses.', [
    'PATCH /v2/mac-ranges/{range_id}',
  ]),
  'mac_ranges:delete': decides('rule:admin_required', 'Delete a range of MAC addresses.', [
    'DELETE /v2/mac-ranges/{range_id}',
  ]),
  'floating_ips:create': decides(
    'rule:project_member_or_service and rule:floating_ip_source',
    'Take a public address as a floating IP.',
    ['POST /v2/floating-ips'],
  ),
  'floating_ips:list': decides(
    'rule:project_reader_or_service',
    'List floating IPs, and what they point at and pointed at.',
    ['GET /v2/floating-ips', 'GET /v2/floating-ips/associations'],
  ),
  'floating_ips:get': decides('rule:project_reader_or_service', 'Show a floating IP.', [
    'GET /v2/floating-ips/{floating_ip_id}',
  ]),
  'floating_ips:update': decides(
    'rule:project_member_or_service',
    'Change a floating IP, or what it points at.',
    ['PATCH /v2/floating-ips/{floating_ip_id}'],
  ),
  'floating_ips:delete': decides('rule:project_member_or_service', 'Release a floating IP.', [
    'DELETE /v2/floating-ips/{floating_ip_id}',
  ]),
  'nat_mappings:create': decides(
    'rule:project_member_or_service',
    'Map one allocation to another.',
    ['POST /v2/nat-mappings'],
  ),
  'nat_mappings:list': decides('rule:project_reader_or_service', 'List NAT mappings.', [
    'GET /v2/nat-mappings',
  ]),
  'nat_mappings:get': decides('rule:project_reader_or_service', 'Show a NAT mapping.', [
    'GET /v2/nat-mappings/{nat_mapping_id}',
  ]),
  'nat_mappings:delete': decides('rule:project_member_or_service', 'End a NAT mapping.', [
    'DELETE /v2/nat-mappings/{nat_mapping_id}',
  ]),
  ...leaseRules,
  ...grantRules,
  'quotas:list': decides('rule:project_reader', 'List the limits that are set.', [
    'GET /v2/quotas',
  ]),
  'quotas:get': decides('rule:project_reader', 'Show what a project may have and what it has.', [
    'GET /v2/quotas/{project_id}',
  ]),
  'quotas:update': decides('rule:admin_required', 'Set the limits of a project.', [
    'PUT /v2/quotas/{project_id}',
  ]),
  'quotas:delete': decides('rule:admin_required', 'Forget the limits of a project.', [
    'DELETE /v2/quotas/{project_id}',
  ]),
  'events:list': decides('rule:project_reader_or_service', 'Read the events.', ['GET /v2/events']),
  'audit_trail:list': decides(
    'rule:project_manager or rule:system_reader',
    'Read who did what to the things of a project, and what was refused.',
    ['GET /v2/audit-trail'],
  ),
  'metrics:get': decides('rule:system_reader', 'Read what a server counts.', ['GET /metrics']),
  'tokens:create': decides(
    'rule:project_manager',
    'Create a token of our own. It never has more rights than whoever creates it.',
    ['POST /v2/tokens'],
  ),
  'tokens:list': decides('rule:project_manager or rule:system_reader', 'List tokens of our own.', [
    'GET /v2/tokens',
  ]),
  'tokens:get': decides(
    'rule:project_manager or rule:system_reader',
    'Show a token of our own, but for its secret.',
    ['GET /v2/tokens/{token_id}'],
  ),
  'tokens:revoke': decides('rule:project_manager', 'Revoke a token of our own.', [
    'DELETE /v2/tokens/{token_id}',
  ]),
  'melange_v1:tenant': decides(
    'rule:project_member_or_service',
    'All below the path of a tenant in the API of v0.1 and v1.0; `project_id` is that tenant.',
    [
      '* /v0.1/ipam/tenants/{tenant_id}/*',
      '* /v1.0/ipam/tenants/{tenant_id}/*',
      '* /ipam/tenants/{tenant_id}/*',
    ],
  ),
  'melange_v1:global': decides(
    'rule:admin_required or rule:service_role',
    'All else in the API of v0.1 and v1.0; below the path of a tenant, what is of no project.',
    ['* /v0.1/*', '* /v1.0/*', '* /ipam/*', '* /extensions'],
  ),
} as const

const ruleOf = new Map(
  Object.entries(operationRules).flatMap(([rule, { operations }]) =>
    operations.map(operation => [operation, rule as keyof typeof operationRules] as const),
  ),
)

/** The rule that decides about an operation; null in v0.1 and v1.0, where the path alone decides. */
export const ruleOfOperation = (operation: string): keyof typeof operationRules | null =>
  ruleOf.get(operation) ?? null
