export type Version = '0.1' | '1.0'
export type Format = 'json' | 'xml'

const versions: readonly string[] = ['0.1', '1.0'] satisfies Version[]

/** Which API is asked, and the path below it; a version that there is not, or none at all. */
export type Asked = { readonly path: string } & (
  | { readonly version: Version }
  | { readonly version: null; readonly isUnsupported: boolean }
)

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

/** The format of the answer: that of the suffix, else of what is accepted the best, else JSON. */
export function askedFormat(path: string, accept: string | undefined): Format {
  const suffix = /\.(json|xml)$/.exec(path)?.[1]
  if (suffix) return suffix as Format
  let best: Format = 'json'
  let bestQuality = 0
  for (const part of (accept ?? '').split(',')) {
    const [range = '', ...parameters] = part.split(';').map(text => text.trim().toLowerCase())
    const quality = qualityOf(parameters)
    const format = /^(\*|application)\/\*$/.test(range) ? 'json' : formats[range]
    if (!format || quality <= bestQuality) continue
    best = format
    bestQuality = quality
  }
  return best
}

function qualityOf(parameters: readonly string[]): number {
  const text = parameters.find(parameter => parameter.startsWith('q='))?.slice(2)
  const quality = text === undefined ? 1 : Number(text)
  return Number.isFinite(quality) ? quality : 0
}
