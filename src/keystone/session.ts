import type { Credentials } from './credentials.ts'
import { KeystoneFailure } from './failure.ts'
import type { HttpAnswer, HttpClient } from './http.ts'
import type { KeystoneObserver } from './observer.ts'
import { findIdentityUrl, readTokenBody } from './token-body.ts'
import { findVersion3 } from './versions.ts'

export type SessionOptions = {
  readonly credentials: Credentials
  readonly http: HttpClient
  readonly now?: () => number
  readonly random?: () => number
  readonly observer?: KeystoneObserver | undefined
}

/** Requests to Keystone that bear a token of Melange's own, which is kept valid. */
export type Session = {
  /**
   * Gets a path below /v3. After a 401 it is tried once more, with a new token of our own.
   *
   * @throws {KeystoneFailure}
   */
  get(path: string, headers: Readonly<Record<string, string>>): Promise<HttpAnswer>
}

type OwnToken = {
  readonly value: string
  /** The identity service, .../v3. */
  readonly url: string
  readonly expires_at: number
  readonly renew_at: number
}

/** A token is renewed so long before its end, or a fifth of its life if that is less. */
const renewSecondsMax = 120
const renewPart = 0.2
/** After a renewal that failed the token is used on, and the next trial waits. */
const renewAgainSeconds = 5

export function createSession(options: SessionOptions): Session {
  const { credentials, http, now = Date.now, random = Math.random, observer } = options
  let own: OwnToken | null = null
  let login: Promise<OwnToken> | null = null
  let authUrl: string | null = null
  let renewNotBefore = 0

  async function logIn(): Promise<OwnToken> {
    authUrl ??= await findVersion3(credentials.auth_url, http)
    const sentAt = now()
    const isCatalogueNeeded = credentials.interface !== undefined
    const answer = await http.send({
      method: 'POST',
      url: new URL(`${authUrl}/auth/tokens${isCatalogueNeeded ? '' : '?nocatalog'}`),
      body: { auth: credentials.auth() },
    })
    const value = answer.headers['x-subject-token']
    const body = readTokenBody(answer.body)
    if (answer.status !== 201 || typeof value !== 'string' || !body) {
      if (answer.status === 404) authUrl = null
      throw new KeystoneFailure(loginProblem(answer.status), { isAway: true })
    }
    // Its life counts from now by our own clock, which may differ from Keystone's.
    const life = Date.parse(body.expires_at) - Date.parse(body.issued_at)
    const margin = Math.min(renewSecondsMax * 1000, life * renewPart) * (1 - random() / 2)
    return {
      value,
      url: identityUrl(authUrl, body),
      expires_at: sentAt + life,
      renew_at: sentAt + life - margin,
    }
  }

  function identityUrl(url: string, body: Parameters<typeof findIdentityUrl>[0]): string {
    if (credentials.interface === undefined) return url
    const { interface: name, region } = credentials
    const found = findIdentityUrl(body, { interface: name, region })
    if (found === null || !/^https?:/.test(found) || !URL.canParse(found)) {
      const where = region === undefined ? '' : ` in region ${region}`
      const message = `Keystone's catalogue has no ${name} URL of the identity service${where}`
      throw new KeystoneFailure(message, { isAway: true })
    }
    const plain = found.replace(/\/+$/, '')
    return /\/v3$/.test(plain) ? plain : `${plain}/v3`
  }

  /** One login at a time, however many need it. */
  function renew(): Promise<OwnToken> {
    login ??= observed(logIn).finally(() => {
      login = null
    })
    return login
  }

  async function observed(work: () => Promise<OwnToken>): Promise<OwnToken> {
    const begin = performance.now()
    const tell = (outcome: 'success' | 'failure') =>
      observer?.onLogin(outcome, (performance.now() - begin) / 1000)
    try {
      own = await work()
      tell('success')
      return own
    } catch (error) {
      tell('failure')
      throw error
    }
  }

  async function ownToken(): Promise<OwnToken> {
    const time = now()
    if (own === null || own.expires_at <= time) return renew()
    if (own.renew_at <= time && renewNotBefore <= time) {
      renewNotBefore = time + renewAgainSeconds * 1000
      renew().catch(() => undefined) // Who needs a new one meets the failure.
    }
    return own
  }

  return {
    async get(path, headers) {
      const ask = async (token: OwnToken) =>
        http.send({
          method: 'GET',
          url: new URL(`${token.url}${path}`),
          headers: { ...headers, 'x-auth-token': token.value },
        })
      const first = await ownToken()
      const answer = await ask(first)
      if (answer.status !== 401) return answer
      if (own === first) own = null
      const again = await ask(await ownToken())
      if (again.status !== 401) return again
      throw new KeystoneFailure("Keystone does not accept Melange's own token", { isAway: true })
    },
  }
}

function loginProblem(status: number): string {
  if (status === 401) return "Keystone refuses Melange's own credentials"
  if (status === 201) return "Keystone's answer to Melange's login is not understood"
  return `Keystone answers ${status} to Melange's login`
}
