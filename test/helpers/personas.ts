import { type Api, expectStatus } from './api.ts'
import { asCaller } from './callers.ts'

/** Who asks in the tests of isolation; the own project is red. */
const grants = {
  none: { project_id: 'red', roles: ['nothing'] },
  reader: { project_id: 'red', roles: ['reader'] },
  member: { project_id: 'red', roles: ['member'] },
  manager: { project_id: 'red', roles: ['manager'] },
  service: { project_id: 'services', roles: ['service'] },
  'admin of a project': { project_id: 'green', roles: ['admin'] },
  'reader of the system': { system_scope: 'all', roles: ['reader'] },
  'admin of the system': { system_scope: 'all', roles: ['admin'] },
} as const
export type Persona = keyof typeof grants
export const personas = Object.keys(grants) as Persona[]

export const callerAs = (persona: Persona) => asCaller(grants[persona])

/** A token of each persona. */
export async function createPersonas(api: Api): Promise<Readonly<Record<Persona, string>>> {
  const tokens: Record<string, string> = {}
  for (const name of personas) {
    const made = expectStatus(201, await api.post('/v2/tokens', { name, ...grants[name] }))
    tokens[name] = (made as unknown as { secret: string }).secret
  }
  return tokens as Record<Persona, string>
}
