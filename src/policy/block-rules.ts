import { decides } from './decides.ts'

/** Who may do what with blocks: a part of operation-rules.ts. */
export const blockRules = {
  'blocks:create': decides(
    'rule:project_member and rule:own_space',
    'Create a block, or children of one.',
    ['POST /v2/blocks', 'POST /v2/blocks/{block_id}/children'],
  ),
  'blocks:list': decides('rule:project_reader_or_service', 'List blocks.', ['GET /v2/blocks']),
  'blocks:get': decides(
    'rule:project_reader_or_service or rule:grantee or rule:giver',
    'Show a block.',
    ['GET /v2/blocks/{block_id}'],
  ),
  'blocks:update': decides('rule:project_member', 'Change a block, but for its CIDR.', [
    'PATCH /v2/blocks/{block_id}',
  ]),
  'blocks:resize': decides(
    'rule:project_member and rule:own_space',
    'Change the CIDR of a block as well, which takes space from what is above, or gives it back.',
    [],
  ),
  'blocks:hand_over': decides(
    'rule:project_manager and rule:own_space',
    'Make a child of a block for another project, which manages it from then on.',
    [],
  ),
  'blocks:delete': decides(
    'rule:project_manager and rule:own_space or role:manager and rule:giver',
    'Delete a block in which nothing is, also one that was handed over.',
    ['DELETE /v2/blocks/{block_id}'],
  ),
  'blocks:get_space': decides(
    'rule:project_reader_or_service',
    'See what is free in a block, and what an address of it is.',
    [
      'GET /v2/blocks/{block_id}/free-ranges',
      'GET /v2/blocks/{block_id}/free-prefixes',
      'GET /v2/blocks/{block_id}/addresses/{address}',
    ],
  ),
  'blocks:get_rules': decides(
    'rule:project_reader_or_service',
    'See the rules of policies that reach a block.',
    ['GET /v2/blocks/{block_id}/rules'],
  ),
  'blocks:get_configuration': decides(
    'rule:project_reader_or_service or rule:grantee',
    'See what the machines of a block are told.',
    ['GET /v2/blocks/{block_id}/configuration'],
  ),
} as const

/** And with grants of them, and of networks. */
export const grantRules = {
  'grants:create': decides(
    'rule:project_member',
    'Let another project, or every one, take addresses of a block or network of the own project.',
    ['POST /v2/grants'],
  ),
  'grants:list': decides(
    'rule:project_reader_or_service',
    'List the grants that a project has given, and those that it has got.',
    ['GET /v2/grants'],
  ),
  'grants:get': decides(
    'rule:project_reader_or_service or rule:grantee',
    'Show a grant, and what is held under it.',
    ['GET /v2/grants/{grant_id}', 'GET /v2/grants/{grant_id}/usage'],
  ),
  'grants:update': decides('rule:project_member', 'Change a grant of the own block or network.', [
    'PATCH /v2/grants/{grant_id}',
  ]),
  'grants:revoke': decides('rule:project_member', 'Revoke a grant of the own block or network.', [
    'DELETE /v2/grants/{grant_id}',
  ]),
} as const
