// Addresses as their bytes, so that neither the product's arithmetic nor that of PostgreSQL counts.

/** The bytes of an address in hexadecimal, without the header that PostgreSQL puts first. */
export const hex = (address: string) => `substr(encode(inet_send(${address}), 'hex'), 9)`

export const toNumber = (digits: unknown) => BigInt(`0x${digits}`)

export const endOf = (first: bigint, family: number, length: number) =>
  first + (1n << BigInt((family === 4 ? 32 : 128) - length)) - 1n
