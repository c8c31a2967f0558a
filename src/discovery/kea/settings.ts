import { Type } from 'typebox'

/** What can be set of the driver `kea`. */
export const keaSettings = Type.Object(
  {},
  { additionalProperties: false, default: {}, description: 'The driver `kea`.' },
)
