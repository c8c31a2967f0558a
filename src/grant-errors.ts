/** What can go wrong with grants: a part of the catalogue in errors.ts. */
export const grantErrors = {
  grant_not_found: {
    status: 404,
    title: 'Grant not found',
    advice: 'List the grants; it may have been revoked.',
  },
  grant_exists: {
    status: 409,
    title: 'The project has a grant of this block or network already',
    advice: 'Change that grant, which `detail` names, instead.',
  },
  not_granted: {
    status: 403,
    title: 'The address was taken under a grant that is no longer there',
    advice: 'Ask the owner of the block for a grant: to take an address back is to take it anew.',
  },
} as const
