/** What can go wrong with tokens of our own: a part of the catalogue in errors.ts. */
export const tokenErrors = {
  token_not_found: {
    status: 404,
    title: 'Token not found',
    advice: 'List the tokens with `state=all`; those that ended long ago are removed.',
  },
  token_exceeds_caller: {
    status: 403,
    title: 'A token cannot do more than whoever makes it',
    advice:
      'Ask for the own project and for roles that the own token has, or let an admin of the system make the token.',
  },
  last_admin_token: {
    status: 409,
    title: 'No other token of an admin of the system is in force',
    advice: 'Create another one first, or use `melange token revoke` on the server.',
  },
} as const
