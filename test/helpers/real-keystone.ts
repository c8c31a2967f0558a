import { afterAll, afterEach, beforeAll } from 'vitest'
import { loadConfig } from '../../src/config.ts'
import { connectKeystone, type Keystone } from '../../src/keystone/keystone.ts'
import type { Lookup } from '../../src/keystone/observer.ts'
import { type KeystoneServer, startKeystoneServer } from './keystone-server.ts'
import { createKeystoneWorld, type KeystoneWorld } from './keystone-world.ts'

type Settings = ReturnType<typeof loadConfig>['keystone']
type Changes = { readonly [K in keyof Settings]?: Settings[K] | undefined }

/** A real Keystone for the tests of a file, with the users of a small cloud. */
export type RealKeystone = {
  readonly server: KeystoneServer
  readonly world: KeystoneWorld
  /** Melange as a service beside it; without credentials it is the user `melange`. */
  connect(settings?: Changes): Connection
}

export type Connection = Keystone & {
  /** How tokens were looked up so far. */
  readonly lookups: Lookup[]
  /** Tokens of Melange's own that it got so far. */
  logins(): number
}

export function useRealKeystone(): RealKeystone {
  let server: KeystoneServer
  let world: KeystoneWorld
  const open: Keystone[] = []

  beforeAll(async () => {
    server = await startKeystoneServer()
    world = await createKeystoneWorld(server)
  }, 180_000)
  afterEach(() => {
    for (const keystone of open.splice(0)) keystone.close()
  })
  afterAll(() => server?.stop())

  return {
    get server() {
      return server
    },
    get world() {
      return world
    },
    connect(changes) {
      const own = { user_id: world.users.melange.id, password: world.users.melange.password }
      const all = {
        ...loadConfig(undefined, {}).keystone,
        auth_url: server.url,
        ...(changes?.application_credential_id === undefined && {
          ...own,
          project_id: world.projects.service,
        }),
        ...changes,
      }
      const given = Object.entries(all).filter(([, value]) => value !== undefined)
      const settings = Object.fromEntries(given) as Settings
      const lookups: Lookup[] = []
      let logins = 0
      const keystone = connectKeystone(
        settings,
        {},
        {
          onLookup: lookup => lookups.push(lookup),
          onLogin: () => {
            logins++
          },
          onValidation: () => {},
          onAway: () => {},
          onBack: () => {},
          watchValidations: () => {},
        },
      )
      open.push(keystone)
      return Object.assign(keystone, { lookups, logins: () => logins })
    },
  }
}
