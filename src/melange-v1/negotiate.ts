export type Version = '0.1' | '1.0'
export type Format = 'json' | 'xml'

const versions: readonly string[] = ['0.1', '1.0'] satisfies Version[]

/** Which API is asked, and the path below it; a version that there is not, or none at all. */
export type Asked = { readonly path: string } & (
  | { readonly version: Version }
  | { readonly version: null; readonly isUnsupported: boolean }
)

/**
 * The path of a request as the original sees it: decoded as a whole, and runs of slashes are one.
 * Null where it is no text.
 */
export function readPath(url: string): string | null {
  try {
    return decodeURIComponent(url.split('?')[0] ?? '').replaceAll(/\/{2,}(?!$)/g, '/')
  } catch {
    return null
  }
}

/**
 * The version that a path names, else the one that the Accept header does.
 *
 * @param path without its query
 */
export function askedVersion(path: string, accept: string | undefined): Asked {
  const [, named, below = ''] = /^\/v(\d+\.?\d*)(\/.*)?$/.exec(path) ?? []
  const text =
    named ??
    /application\/vnd\.openstack\.melange[^;,]*;version=(\d+\.?\d*)/.exec(accept ?? '')?.[1]
  const version = versions.find(one => one === text) as Version | undefined
  if (version) return { version, path: named === undefined ? path : below }
  return { version: null, isUnsupported: text !== undefined && named === undefined, path }
}

const formats: Readonly<Record<string, Format>> = {
  'application/json': 'json',
  'application/vnd.openstack.melange+json': 'json',
  'application/xml': 'xml',
  'application/vnd.openstack.melange+xml': 'xml',
}

/**
 * The format of the answer: that of the suffix, else of what is accepted the best, else JSON. Of two
 * that are as good a named one goes before a wildcard, and then JSON before XML.
 */
export function askedFormat(path: string, accept: string | undefined): Format {
  const suffix = /\.(json|xml)$/.exec(path)?.[1]
  if (suffix) return suffix as Format
  const accepted = (accept ?? '').split(',').flatMap(part => {
    const [range = '', ...parameters] = part.split(';').map(text => text.trim().toLowerCase())
    const isWild = /^(\*|application)\/\*$/.test(range)
    const format = isWild ? 'json' : formats[range]
    const quality = qualityOf(parameters)
    const wildcards = range.split('*').length
    return format && quality > 0 ? [{ format, quality, wildcards }] : []
  })
  const [best] = accepted.toSorted(
    (a, b) =>
      b.quality - a.quality ||
      a.wildcards - b.wildcards ||
      Number(a.format === 'xml') - Number(b.format === 'xml'),
  )
  return best?.format ?? 'json'
}

function qualityOf(parameters: readonly string[]): number {
  const text = parameters.find(parameter => parameter.startsWith('q='))?.slice(2)
  const quality = text === undefined ? 1 : Number(text)
  return Number.isFinite(quality) ? Math.min(quality, 1) : 0
}
