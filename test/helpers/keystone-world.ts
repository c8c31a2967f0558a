import type { KeystoneServer } from './keystone-server.ts'

/** A scope of Keystone's request for a token. */
export type Scope = object

export type KeystoneUser = { readonly id: string; readonly password: string }

/** What the tests have in their Keystone: docs/keystone.md makes the same of the first part. */
export type KeystoneWorld = {
  readonly adminToken: string
  readonly projects: { readonly service: string; readonly acme: string }
  readonly corp: string
  readonly users: {
    /** Melange's own: role `service` in the project `service`. */
    readonly melange: KeystoneUser
    /** Another service, with the same role and `admin`. */
    readonly nova: KeystoneUser
    /** `member` (and so `reader`) of the project `acme`. */
    readonly ann: KeystoneUser
    /** `admin` of the domain `corp`. */
    readonly boss: KeystoneUser
    /** `admin` of the system. */
    readonly root: KeystoneUser
    readonly nobody: KeystoneUser
  }
  /** A token; the password's by default. */
  logIn(user: KeystoneUser, scope?: Scope): Promise<string>
  logInWith(credential: { readonly id: string; readonly secret: string }): Promise<string>
  revoke(token: string): Promise<void>
  call(method: string, path: string, body?: object, token?: string): Promise<Answer>
}

// biome-ignore lint/suspicious/noExplicitAny: Keystone's answers are what the test expects them to be.
type Answer = any

/** Seeds an empty Keystone. */
export async function createKeystoneWorld(server: KeystoneServer): Promise<KeystoneWorld> {
  const { url, adminPassword } = server

  async function send(method: string, path: string, body?: object, token?: string) {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { 'content-type': 'application/json', ...(token && { 'x-auth-token': token }) },
      ...(body && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return { response, body: text === '' ? {} : JSON.parse(text) }
  }
  async function tokenFor(identity: object, scope?: Scope): Promise<string> {
    const { response } = await send('POST', '/auth/tokens', { auth: { identity, scope } })
    return response.headers.get('x-subject-token') ?? ''
  }
  const password = (user: object) => ({ methods: ['password'], password: { user } })
  const logIn = (user: KeystoneUser, scope?: Scope) => tokenFor(password(user), scope)

  const domain = { id: 'default' }
  const root = { name: 'admin', domain, password: adminPassword }
  const adminToken = await tokenFor(password(root), { project: { name: 'admin', domain } })
  const call = async (method: string, path: string, body?: object, token = adminToken) =>
    (await send(method, path, body, token)).body as Answer
  const create = async (kind: string, value: object): Promise<string> =>
    (await call('POST', `/${kind}s`, { [kind]: value }))[kind].id

  const roles = Object.fromEntries(
    (await call('GET', '/roles')).roles.map(({ name, id }: { name: string; id: string }) => [
      name,
      id,
    ]),
  )
  roles.service ??= await create('role', { name: 'service' })
  const service = await create('project', { name: 'service' })
  const acme = await create('project', { name: 'acme' })
  const corp = await create('domain', { name: 'corp' })

  async function createUser(
    name: string,
    grants: readonly [string, string][],
    domain_id = 'default',
  ) {
    const user = { name, password: `the-password-of-${name}`, domain_id }
    const id = await create('user', user)
    for (const [target, role] of grants) {
      await call('PUT', `${target}/users/${id}/roles/${roles[role]}`)
    }
    return { id, password: user.password }
  }
  const inService = `/projects/${service}`
  const users = {
    melange: await createUser('melange', [[inService, 'service']]),
    nova: await createUser('nova', [
      [inService, 'service'],
      [inService, 'admin'],
    ]),
    ann: await createUser('ann', [[`/projects/${acme}`, 'member']]),
    boss: await createUser('boss', [[`/domains/${corp}`, 'admin']], corp),
    root: await createUser('root', [['/system', 'admin']]),
    nobody: await createUser('nobody', []),
  }
  const service_id = await create('service', { type: 'ipam', name: 'melange' })
  await create('endpoint', {
    service_id,
    interface: 'public',
    region_id: 'RegionOne',
    url: 'http://127.0.0.1:9898',
  })

  return {
    adminToken,
    projects: { service, acme },
    corp,
    users,
    logIn,
    logInWith: application_credential =>
      tokenFor({ methods: ['application_credential'], application_credential }),
    async revoke(token) {
      const headers = { 'x-auth-token': adminToken, 'x-subject-token': token }
      const { status } = await fetch(`${url}/auth/tokens`, { method: 'DELETE', headers })
      if (status !== 204) throw new Error(`the token was not revoked: ${status}`)
    },
    call,
  }
}
