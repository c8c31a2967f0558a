/** In whose name a request is made. */
export type Caller = {
  readonly authority: 'keystone' | 'token' | 'oidc'
  readonly user_id: string
  readonly user_name: string | null
  readonly user_domain_id: string | null
  /** One of these at most is not null; all null is a token without scope. */
  readonly project_id: string | null
  readonly domain_id: string | null
  readonly system_scope: 'all' | null
  readonly project_domain_id: string | null
  readonly roles: readonly string[]
  /** The service that asks in the user's name (X-Service-Token). */
  readonly service: {
    readonly user_id: string
    readonly project_id: string | null
    readonly roles: readonly string[]
  } | null
}
