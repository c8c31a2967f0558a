import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import { Value } from 'typebox/value'
import { Config } from '../../src/config.ts'
import type { OidcSettings } from '../../src/oidc-config.ts'

type Key = { readonly alg: string; readonly privateKey: CryptoKey; readonly jwk: JWK }
export type Signing = {
  /** The key that signs, and what the token says of it. */
  readonly kid?: string
  readonly header?: object
}

export const audience = 'melange'

/** An OpenID Connect issuer that listens on this machine. */
export class OidcIssuer {
  readonly keys = new Map<string, Key>()
  /** The paths that were asked for. */
  readonly asked: string[] = []
  /** Answers in place of the issuer, if it is there. */
  handler: RequestListener | undefined
  url = ''
  #server: Server | undefined

  static async start(): Promise<OidcIssuer> {
    const issuer = new OidcIssuer()
    await issuer.addKey('first')
    await issuer.listen()
    return issuer
  }

  /** Listens, where it did before. */
  async listen(): Promise<void> {
    const port = this.url === '' ? 0 : Number(new URL(this.url).port)
    this.#server = createServer((request, response) => {
      this.asked.push(String(request.url))
      if (this.handler) return this.handler(request, response)
      const answer = this.answerTo(String(request.url))
      response.writeHead(answer ? 200 : 404, { 'content-type': 'application/json' })
      return response.end(JSON.stringify(answer ?? {}))
    }).listen(port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  answerTo(path: string): object | undefined {
    if (path === '/keys') return { keys: [...this.keys.values()].map(({ jwk }) => jwk) }
    if (path !== '/.well-known/openid-configuration') return undefined
    return { issuer: this.url, jwks_uri: `${this.url}/keys` }
  }

  async stop(): Promise<void> {
    const server = this.#server
    if (!server?.listening) return
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  }

  async addKey(kid: string, alg = 'ES256'): Promise<void> {
    const { publicKey, privateKey } = await generateKeyPair(alg)
    const jwk = { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' }
    this.keys.set(kid, { alg, privateKey, jwk })
  }

  /** A token that is right, but for what is said otherwise; undefined leaves a claim out. */
  sign(claims: object = {}, { kid = 'first', header = {} }: Signing = {}): Promise<string> {
    const key = this.keys.get(kid)
    if (!key) throw new Error(`there is no key ${kid}`)
    return this.signWith(key, { kid, ...header }, claims)
  }

  async signWith({ alg, privateKey }: Key, header: object, claims: object = {}): Promise<string> {
    const seconds = Math.floor(Date.now() / 1000)
    const usual = { iss: this.url, aud: audience, sub: 'alice', iat: seconds, exp: seconds + 300 }
    const payload = JSON.parse(JSON.stringify({ ...usual, ...claims }))
    return new SignJWT(payload).setProtectedHeader({ alg, ...header }).sign(privateKey)
  }
}

/** Settings with these issuers; the last ones count. */
export function oidcSettings(
  issuers: readonly OidcIssuer[],
  { claims = {}, ...more }: { claims?: object; role_map?: object; system_role_map?: object } = {},
  settings: Partial<OidcSettings> = {},
): OidcSettings {
  const listed = issuers.map(({ url }) => ({
    issuer: url,
    audience,
    claims: { project_id: 'project', ...claims },
    role_map: { workers: 'member' },
    system_role_map: { operators: 'admin' },
    ...more,
  }))
  const { oidc } = Value.Default(Config, { oidc: { issuers: listed } }) as {
    readonly oidc: OidcSettings
  }
  return { ...oidc, ...settings }
}
