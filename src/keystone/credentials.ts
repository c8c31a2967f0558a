import { ConfigError } from '../config.ts'
import { type Environment, isMapping, readCloud } from './clouds-file.ts'

/** The values that credentials are made of, by the names of keystoneauth's options. */
const keys = [
  'auth_type',
  'auth_url',
  'username',
  'user_id',
  'user_domain_name',
  'user_domain_id',
  'password',
  'project_name',
  'project_id',
  'project_domain_name',
  'project_domain_id',
  'domain_name',
  'domain_id',
  'system_scope',
  'default_domain_name',
  'default_domain_id',
  'application_credential_id',
  'application_credential_name',
  'application_credential_secret',
  'region',
  'interface',
  'cafile',
] as const

type Key = (typeof keys)[number]
type Values = { readonly [K in Key]?: string | undefined } & {
  readonly insecure?: boolean | undefined
}

/**
 * What the configuration says of Keystone; what is missing comes from a cloud or the environment.
 */
export type CredentialSettings = Values & {
  readonly cloud?: string | undefined
  readonly www_authenticate_uri?: string | undefined
}

/** How Melange logs in. The secret is in a closure, so that no log can show it. */
export type Credentials = {
  readonly auth_url: URL
  /** Where clients are sent that have no valid token. */
  readonly www_authenticate_uri: string
  /** The member `auth` of the request for a token. */
  readonly auth: () => object
  /** Of the identity service in the catalogue; without it `auth_url` serves for all. */
  readonly interface: string | undefined
  readonly region: string | undefined
  readonly cafile: string | undefined
  readonly insecure: boolean
}

/** Names of the environment and of clouds.yaml that are not `OS_` and the key. */
const otherNames: { readonly [K in Key]?: readonly string[] } = {
  project_name: ['tenant_name'],
  project_id: ['tenant_id'],
  default_domain_name: ['default_domain'],
  region: ['region_name'],
  interface: ['endpoint_type'],
  cafile: ['cacert'],
}

/**
 * Melange's own credentials: from the configuration, and what it does not say from a cloud of
 * clouds.yaml (`cloud`, else OS_CLOUD), or without a cloud from OS_* of the environment.
 *
 * @throws {ConfigError} that names what is missing.
 */
export function loadCredentials(
  settings: CredentialSettings,
  environment: Environment,
): Credentials {
  const cloud = settings.cloud ?? (environment.OS_CLOUD || undefined)
  const below = cloud === undefined ? ofEnvironment(environment) : ofCloud(cloud, environment)
  const own = Object.entries(settings).filter(([, value]) => value !== undefined)
  const values: Values = { ...below, ...Object.fromEntries(own) }
  const need = needOf(values, cloud)
  const auth_url = readAuthUrl(need('auth_url'))
  return {
    auth_url,
    www_authenticate_uri: settings.www_authenticate_uri ?? auth_url.href.replace(/\/$/, ''),
    auth: readAuth(values, need),
    interface: readInterface(values.interface),
    region: values.region,
    cafile: values.cafile,
    insecure: values.insecure ?? false,
  }
}

function ofEnvironment(environment: Environment): Values {
  const read = (name: string) => environment[`OS_${name.toUpperCase()}`] || undefined
  return {
    ...valuesBy(read),
    insecure: /^(1|true|yes)$/i.test(environment.OS_INSECURE ?? ''),
  }
}

function ofCloud(name: string, environment: Environment): Values {
  const cloud = readCloud(name, environment)
  const auth = isMapping(cloud.auth) ? cloud.auth : {}
  const read = (key: string) => {
    const value = auth[key] ?? cloud[key]
    return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined
  }
  const isTrusting = cloud.verify === false || cloud.insecure === true
  return { ...valuesBy(read), insecure: isTrusting }
}

function valuesBy(read: (name: string) => string | undefined): Values {
  const pairs = keys.map(key => {
    const names = [key, ...(otherNames[key] ?? [])]
    return [key, names.map(read).find(value => value !== undefined)]
  })
  return Object.fromEntries(pairs.filter(([, value]) => value !== undefined))
}

type Need = (...alternatives: readonly [Key, ...Key[]]) => string

/** The first of the values that is there; an error that says where it could have been. */
function needOf(values: Values, cloud: string | undefined): Need {
  return (...alternatives) => {
    const found = alternatives.map(key => values[key]).find(value => value !== undefined)
    if (found !== undefined) return found
    const wanted = alternatives.map(key => `keystone.${key}`).join(' or ')
    const [first] = alternatives
    const place = cloud === undefined ? `OS_${first.toUpperCase()}` : `${first} of cloud ${cloud}`
    throw new ConfigError(`${wanted} is missing (or ${place}; see docs/keystone.md)`)
  }
}

function readAuthUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new ConfigError('keystone.auth_url must be an http or https URL')
  }
  if (url.username || url.password || url.search || url.hash) {
    throw new ConfigError('keystone.auth_url must have neither user, password, query nor fragment')
  }
  if (/\/v2\.0\/?$/.test(url.pathname)) {
    throw new ConfigError('keystone.auth_url names version 2.0: only version 3 is supported')
  }
  return url
}

function readInterface(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  const [, name] = /^(public|internal|admin)(?:URL)?$/.exec(text) ?? []
  if (name === undefined) {
    throw new ConfigError('keystone.interface must be public, internal or admin')
  }
  return name
}

function readAuth(values: Values, need: Need): () => object {
  const hasApplicationCredential =
    values.application_credential_id !== undefined ||
    values.application_credential_name !== undefined
  const type =
    values.auth_type ?? (hasApplicationCredential ? 'v3applicationcredential' : 'password')
  switch (type) {
    case 'password':
    case 'v3password':
      return readPassword(values, need)
    case 'v3applicationcredential':
      return readApplicationCredential(values, need)
    default:
      throw new ConfigError(
        `keystone.auth_type ${type} is not supported: use password or v3applicationcredential`,
      )
  }
}

function readPassword(values: Values, need: Need): () => object {
  const user = readUser(values, need)
  const password = need('password')
  const scope = readScope(values, need)
  return () => ({
    identity: { methods: ['password'], password: { user: { ...user, password } } },
    scope,
  })
}

/** Such a credential has its scope from its user, so none may be asked for. */
function readApplicationCredential(values: Values, need: Need): () => object {
  const { application_credential_id: id } = values
  const name = need('application_credential_id', 'application_credential_name')
  const which = id === undefined ? { name, user: readUser(values, need) } : { id }
  const secret = need('application_credential_secret')
  return () => ({
    identity: {
      methods: ['application_credential'],
      application_credential: { ...which, secret },
    },
  })
}

function readUser(values: Values, need: Need): object {
  if (values.user_id !== undefined) return { id: values.user_id }
  return { name: need('username', 'user_id'), domain: readDomain('user_domain', values, need) }
}

function readScope(values: Values, need: Need): object {
  const { system_scope, domain_id, domain_name } = values
  if (values.project_id !== undefined) return { project: { id: values.project_id } }
  if (values.project_name !== undefined) {
    const domain = readDomain('project_domain', values, need)
    return { project: { name: values.project_name, domain } }
  }
  if (domain_id !== undefined) return { domain: { id: domain_id } }
  if (domain_name !== undefined) return { domain: { name: domain_name } }
  if (system_scope === 'all') return { system: { all: true } }
  need('project_name', 'project_id', 'domain_name', 'domain_id', 'system_scope')
  throw new ConfigError('keystone.system_scope can only be all')
}

function readDomain(kind: 'user_domain' | 'project_domain', values: Values, need: Need): object {
  const id = values[`${kind}_id`]
  if (id !== undefined) return { id }
  const name = values[`${kind}_name`]
  if (name !== undefined) return { name }
  if (values.default_domain_id !== undefined) return { id: values.default_domain_id }
  if (values.default_domain_name !== undefined) return { name: values.default_domain_name }
  return { name: need(`${kind}_name`, `${kind}_id`) }
}
