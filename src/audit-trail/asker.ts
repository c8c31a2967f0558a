import { createHash } from 'node:crypto'
import type { Caller } from '../auth/caller.ts'

/** From where a request came. */
export type Host = {
  readonly address: string
  /** What the client calls itself; null if it says nothing. */
  readonly agent: string | null
}

/** Who asked, by which operation and from where; never with what proved it. */
export type Asker = Host &
  Pick<
    Caller,
    | 'authority'
    | 'user_id'
    | 'user_name'
    | 'user_domain_id'
    | 'project_id'
    | 'project_domain_id'
    | 'domain_id'
    | 'system_scope'
  > & {
    readonly roles: readonly string[]
    readonly service_user_id: string | null
    readonly service_project_id: string | null
    /** Method and pattern of the path, such as `PATCH /v2/networks/{network_id}`. */
    readonly operation: string
  }

export function askerOf(caller: Caller, operation: string, { address, agent }: Host): Asker {
  const { authority, user_id, user_name, user_domain_id, roles, service } = caller
  const { project_id, project_domain_id, domain_id, system_scope } = caller
  return {
    authority,
    user_id,
    user_name,
    user_domain_id,
    project_id,
    project_domain_id,
    domain_id,
    system_scope,
    roles: roles.toSorted(),
    service_user_id: service?.user_id ?? null,
    service_project_id: service?.project_id ?? null,
    operation,
    address,
    agent,
  }
}

/** What is the same for the same asker, and for no other: 32 bytes. */
export const digestOf = (asker: Asker): Buffer =>
  createHash('sha256').update(JSON.stringify(asker)).digest()

/** 20 bits that all ids of what one user did begin with. */
export const userKeyOf = (user_id: string): number =>
  createHash('sha256').update(user_id).digest().readUIntBE(0, 3) >> 4

const agentMax = 255
const tokenMin = 8

type Headers = Readonly<Record<string, string | string[] | undefined>>

/** What a request tells of where it came from. */
export type Origin = { readonly ip: string | undefined; readonly headers: Headers }

/** From where a request came; without an agent that gives away a token, or what is as long as one. */
export function hostOf({ ip, headers }: Origin): Host {
  const agent = printable(headers['user-agent'])
  const bearer = /^bearer +(\S+)$/i.exec(printable(headers.authorization))?.[1]
  const secrets = ['x-auth-token', 'x-storage-token', 'x-service-token', 'x-subject-token']
    .map(name => printable(headers[name]))
    .concat(bearer ?? '')
    .filter(text => text.length >= tokenMin)
  const isTelling = secrets.some(text => agent.includes(text)) || /[\w.+=-]{32}/.test(agent)
  // Of a connection that has been lost meanwhile nobody knows the address.
  return { address: ip ?? 'unknown', agent: (isTelling ? '' : agent.slice(0, agentMax)) || null }
}

const printable = (header: string | string[] | undefined): string =>
  typeof header === 'string' ? header.replaceAll(/[^ -~]/g, '').trim() : ''
