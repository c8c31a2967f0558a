/** A map that forgets what was not used for longest. */
export type BoundedMap<V> = {
  get(key: string): V | undefined
  set(key: string, value: V): void
  delete(key: string): void
  readonly size: () => number
}

export function createBoundedMap<V extends object>(size_max: number): BoundedMap<V> {
  // A Map keeps the order in which keys were added, so the first is the one to forget.
  const map = new Map<string, V>()
  return {
    get(key) {
      const value = map.get(key)
      if (value === undefined) return undefined
      map.delete(key)
      map.set(key, value)
      return value
    },
    set(key, value) {
      map.delete(key)
      map.set(key, value)
      if (map.size <= size_max) return
      const oldest = map.keys().next()
      if (!oldest.done) map.delete(oldest.value)
    },
    delete: key => void map.delete(key),
    size: () => map.size,
  }
}
