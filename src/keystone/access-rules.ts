/** What an application credential may be used for: Keystone's access rule. */
export type AccessRule = {
  readonly service: string
  readonly method: string
  /** `*` and `{name}` stand for one segment, `**` for anything. */
  readonly path: string
}

/** A request as access rules see it. */
export type Asked = {
  readonly method: string
  /** As sent: still encoded; a query is left out of account. */
  readonly path: string
}

/** Whether one of the rules allows a request to the service of this type. */
export function isAllowed(
  rules: readonly AccessRule[],
  { method, path }: Asked,
  service_type: string,
): boolean {
  const canonical = canonicalPath(path)
  if (canonical === null) return false
  return rules.some(
    rule =>
      rule.service === service_type &&
      rule.method === method &&
      matchesPattern(canonical, rule.path),
  )
}

/** Keystone keeps patterns of 128 characters at most. */
const patternLengthMax = 128
const pathLengthMax = 1024

/**
 * The path as the router understands it: each segment decoded, but a slash within a segment stays
 * encoded. Null if a path is not clear without doubt, which no rule allows.
 */
function canonicalPath(path: string): string | null {
  const [plain = ''] = path.split('?', 1)
  if (plain.length > pathLengthMax) return null
  try {
    const segments = plain.split('/').map(segment => decodeURIComponent(segment))
    if (segments.some(segment => segment === '.' || segment === '..')) return null
    return segments.map(segment => segment.replaceAll('/', '%2F')).join('/')
  } catch {
    return null
  }
}

type Part = { readonly kind: 'literal' | 'segment' | 'anything'; readonly text: string }

/**
 * Whether a path is of a pattern. Users write patterns, so none is made a regular expression, which
 * could take forever: all places of the pattern that a character may be at are followed side by
 * side.
 */
export function matchesPattern(path: string, pattern: string): boolean {
  if (pattern.length > patternLengthMax) return false
  const parts = partsOf(pattern)
  let places = skip(Uint8Array.of(1, ...parts.map(() => 0)), parts)
  for (let index = 0; index < path.length; index++) {
    const next = new Uint8Array(places.length)
    for (const [place, { kind, text }] of parts.entries()) {
      if (places[place] === 0) continue
      if (kind === 'anything') next[place] = 1
      else if (kind === 'literal') {
        if (text === path[index]) next[place + 1] = 1
      } else if (path[index] !== '/') next[place] = next[place + 1] = 1
    }
    places = skip(next, parts)
  }
  return places[parts.length] === 1
}

/** `**` may stand for nothing, so the place behind it is reached as well. */
function skip(places: Uint8Array, parts: readonly Part[]): Uint8Array {
  for (const [place, { kind }] of parts.entries()) {
    if (kind === 'anything' && places[place] === 1) places[place + 1] = 1
  }
  return places
}

function partsOf(pattern: string): Part[] {
  const tokens = pattern.match(/\{[^{}]*\}|\*\*|\*|[\s\S]/g) ?? []
  return tokens.map(text => {
    if (text === '**') return { kind: 'anything', text }
    const isSegment = text === '*' || (text.startsWith('{') && text.length > 1)
    return { kind: isSegment ? 'segment' : 'literal', text }
  })
}
