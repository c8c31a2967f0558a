import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parse } from 'yaml'
import { ConfigError } from '../config.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** A cloud of clouds.yaml, with what secure.yaml adds to it. */
export type Cloud = Readonly<Record<string, unknown>>

/**
 * Reads a cloud from clouds.yaml and secure.yaml, where OpenStack's clients look for them:
 * OS_CLIENT_CONFIG_FILE, else the working folder, the user's and the system's configuration.
 *
 * @throws {ConfigError}
 */
export function readCloud(name: string, environment: Environment): Cloud {
  const folders = foldersOf(environment)
  const cloudsFile = find('clouds', { file: environment.OS_CLIENT_CONFIG_FILE, folders })
  if (cloudsFile === null) {
    throw new ConfigError(`the cloud ${name}: no clouds.yaml in ${folders.join(', ')}`)
  }
  const secureFile = find('secure', {
    file: environment.OS_CLIENT_SECURE_FILE,
    folders: [dirname(cloudsFile), ...folders],
  })
  const open = readClouds(cloudsFile)[name]
  if (!isMapping(open)) throw new ConfigError(`${cloudsFile} has no cloud ${name}`)
  const secret = secureFile === null ? undefined : readClouds(secureFile)[name]
  return isMapping(secret) ? merge(open, secret) : open
}

function foldersOf({ HOME, XDG_CONFIG_HOME }: Environment): string[] {
  const own = XDG_CONFIG_HOME || (HOME && join(HOME, '.config'))
  return [process.cwd(), ...(own ? [join(own, 'openstack')] : []), '/etc/openstack']
}

type Places = { readonly file: string | undefined; readonly folders: readonly string[] }

function find(name: string, { file, folders }: Places): string | null {
  if (file) {
    if (existsSync(file)) return file
    throw new ConfigError(`${file} does not exist`)
  }
  const names = ['yaml', 'yml', 'json'].map(extension => `${name}.${extension}`)
  const files = folders.flatMap(folder => names.map(each => join(folder, each)))
  return files.find(each => existsSync(each)) ?? null
}

function readClouds(file: string): Cloud {
  let content: unknown
  try {
    content = parse(readFileSync(file, 'utf8'), { logLevel: 'error' })
  } catch {
    // What the parser says may quote the line, and so a password.
    throw new ConfigError(`${file} cannot be read as YAML`)
  }
  const clouds = isMapping(content) ? content.clouds : undefined
  if (!isMapping(clouds)) throw new ConfigError(`${file} has no mapping \`clouds\``)
  return clouds
}

function merge(under: Cloud, over: Cloud): Cloud {
  const merged = Object.entries(over).map(([key, value]) => {
    const below = under[key]
    return [key, isMapping(below) && isMapping(value) ? merge(below, value) : value]
  })
  return { ...under, ...Object.fromEntries(merged) }
}

export const isMapping = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
