const known = new Map<string, string>()

/**
 * The path of a route as OpenAPI writes it: `/v2/networks/{network_id}` of `/v2/networks/:network_id`. Routes
 * are few, and each is worked out once.
 */
export function pathPattern(route: string): string {
  const found = known.get(route)
  if (found !== undefined) return found
  const pattern = route.replaceAll(/:(\w+)/g, '{$1}')
  known.set(route, pattern)
  return pattern
}
