/** What can go wrong with leases: a part of the catalogue in errors.ts. */
export const leaseErrors = {
  address_not_withheld: {
    status: 409,
    title: 'The address is not withheld',
    advice: 'There is nothing to end: servers tell it to who has it.',
  },
} as const
