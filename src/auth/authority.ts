import type { Caller } from './caller.ts'

/** What a request bears to say in whose name it is made. */
export type Credentials = {
  /** X-Auth-Token, else X-Storage-Token, else the bearer token. */
  readonly token: string
  /** The token of a service that asks in the user's name (X-Service-Token). */
  readonly serviceToken: string | undefined
  /** What is asked for; the path is as sent, with its query. */
  readonly method: string
  readonly url: string
}

/** Reasons are sentences for the client and the log, and never hold the token. */
export type Verdict =
  | { readonly kind: 'valid'; readonly caller: Caller }
  | { readonly kind: 'invalid'; readonly reason: string }
  /** Nobody can tell now, and perhaps somebody can after so many seconds. */
  | {
      readonly kind: 'unavailable'
      readonly reason: string
      readonly retry_after_seconds?: number
    }

/** Somebody who knows tokens of one form. */
export type Authority = {
  /** Undefined if the token has another form, so that another authority is to be asked. */
  validate(credentials: Credentials): Promise<Verdict> | undefined
  /** Whether a token that nobody can guess was valid lately, as far as is remembered; asks nobody. */
  remembers(token: string): boolean
}

/** The text that stands for a caller where things are kept apart by who asks in which scope. */
export function ownerOf(caller: Caller): string {
  const { authority, user_domain_id, user_id, project_id, domain_id, system_scope } = caller
  return JSON.stringify([authority, user_domain_id, user_id, project_id, domain_id, system_scope])
}
