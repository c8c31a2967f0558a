import { createHash } from 'node:crypto'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'

/** Kea's numbers of subnets, each of one block on one network. They stay as they were given. */
export type SubnetIds = {
  of(network_id: string, block_id: string): number
}

/** Kea's columns of subnet ids are bigint, but it reads them as int. */
const idMax = 2 ** 31 - 2

/** Opens the file of them; a number that was given once is for nothing else. */
export function openSubnetIds(path: string): SubnetIds {
  const text = existsSync(path) ? readFileSync(path, 'utf8') : '{}'
  const ids = new Map(Object.entries(JSON.parse(text) as Record<string, number>))
  const taken = new Set(ids.values())
  let isSaving = false

  function save(): void {
    isSaving = false
    writeFileSync(`${path}.new`, JSON.stringify(Object.fromEntries(ids)), { mode: 0o600 })
    renameSync(`${path}.new`, path)
  }

  return {
    of(network_id, block_id) {
      const key = `${network_id}/${block_id}`
      const known = ids.get(key)
      if (known !== undefined) return known
      // A hash, so that a lost file is mostly found again.
      let id = 1 + (createHash('sha256').update(key).digest().readUInt32BE() % idMax)
      while (taken.has(id)) id = 1 + (id % idMax)
      ids.set(key, id)
      taken.add(id)
      if (!isSaving) setImmediate(save)
      isSaving = true
      return id
    },
  }
}
