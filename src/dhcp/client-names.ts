import type { ServedHost } from './served.ts'

export type ClientNames = Pick<ServedHost, 'mac_address' | 'client_id' | 'duid' | 'iaid'>

/** How long the owner id of an allocation may be. */
const idMax = 255
const iaidMax = 4_294_967_295

/**
 * The owner id of what a client gets: its MAC, else what it calls itself. A DUID counts first, since
 * not every server gets to know the MAC that is behind it. Null for a client without any name, or
 * with one that is too long for an owner id.
 */
export function clientIdOf({ mac_address, client_id, duid, iaid }: ClientNames): string | null {
  const fitting = (id: string) => (id.length <= idMax ? id : null)
  if (duid !== null) return fitting(`duid:${duid}/${iaid ?? 0}`)
  if (mac_address !== null) return mac_address
  return client_id === null ? null : fitting(`client-id:${client_id}`)
}

/** The names that an owner id tells of; null if it is none of `clientIdOf`. */
export function namesOfClientId(id: string): ClientNames | null {
  const none = { mac_address: null, client_id: null, duid: null, iaid: null }
  const duid = /^duid:((?:[0-9a-f]{2}){1,130})\/([0-9]{1,10})$/.exec(id)
  if (duid?.[1]) {
    const iaid = Number(duid[2])
    return iaid <= iaidMax ? { ...none, duid: duid[1], iaid } : null
  }
  if (/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(id)) return { ...none, mac_address: id }
  const client = /^client-id:((?:[0-9a-f]{2}){1,255})$/.exec(id)
  return client?.[1] ? { ...none, client_id: client[1] } : null
}
