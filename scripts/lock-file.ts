/** What package-lock.json says of a package. */
type Locked = {
  readonly version?: string
  readonly resolved?: string
  readonly integrity?: string
  readonly link?: boolean
  readonly hasInstallScript?: boolean
}
export type LockFile = {
  readonly lockfileVersion: number
  readonly packages: Readonly<Record<string, Locked>>
}
/** What package.json asks for. */
export type Manifest = {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly overrides?: Readonly<Record<string, string>>
}

/**
 * Packages that want to run something when they are installed. None has to: both come with packages that hold
 * what the script would fetch or build, and `npm ci --ignore-scripts` is enough.
 */
const mayHaveScripts = new Set(['esbuild', 'fsevents'])

/** Why what would be installed is not sure to be what was meant; nothing, if it is. */
export function lockProblems(manifest: Manifest, lock: LockFile): string[] {
  const { dependencies, devDependencies, optionalDependencies, overrides } = manifest
  const asked = { ...dependencies, ...devDependencies, ...optionalDependencies, ...overrides }
  const odd = Object.entries(asked)
    .filter(([, range]) => !/^[\^~]?\d+\.\d+\.\d+([-+][\w.-]+)?$/.test(range))
    .map(([name, range]) => `package.json: ${name} is asked for as ${range}, not by a version`)
  const format = lock.lockfileVersion >= 3 ? [] : ['package-lock.json is of an old format']
  const locked = Object.entries(lock.packages).flatMap(([path, entry]) =>
    path === '' ? [] : problemsOf(path, entry).map(why => `package-lock.json: ${path} ${why}`),
  )
  return [...odd, ...format, ...locked]
}

function problemsOf(path: string, { resolved, integrity, link, hasInstallScript }: Locked) {
  const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
  return [
    ...(path.startsWith('node_modules/') ? [] : ['is no package of a registry']),
    ...(link ? ['is a link'] : []),
    ...(/^sha512-[\w+/]{86}==$/.test(integrity ?? '') ? [] : ['has no SHA-512']),
    // Without an address npm asks the registry that it is configured with.
    ...(resolved === undefined ? [] : [`comes from ${resolved}`]),
    ...(hasInstallScript && !mayHaveScripts.has(name) ? ['runs a script when installed'] : []),
  ]
}
