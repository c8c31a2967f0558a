import { Type } from 'typebox'
import { Value } from 'typebox/value'
import { KeystoneFailure } from './failure.ts'
import type { HttpClient } from './http.ts'

const Version = Type.Object({
  id: Type.String(),
  links: Type.Array(Type.Object({ rel: Type.String(), href: Type.String() })),
})
const Versions = Type.Object({ versions: Type.Object({ values: Type.Array(Version) }) })

/**
 * The URL of version 3, without a slash at its end: `auth_url` itself if it names a version, else
 * what Keystone's version document says. Of that only the path counts: behind a proxy Keystone may
 * not know its own name.
 *
 * @throws {KeystoneFailure}
 */
export async function findVersion3(auth_url: URL, http: HttpClient): Promise<string> {
  const base = auth_url.href.replace(/\/+$/, '')
  if (/\/v3$/.test(base)) return base
  const { body } = await http.send({ method: 'GET', url: auth_url })
  const versions = Value.Check(Versions, body) ? body.versions.values : []
  const version3 = versions.find(({ id }) => /^v3(\.|$)/.test(id))
  if (!version3) {
    throw new KeystoneFailure('There is no Keystone of version 3 at keystone.auth_url', {
      isAway: true,
    })
  }
  const href = version3.links.find(({ rel }) => rel === 'self')?.href ?? ''
  const path = URL.canParse(href, auth_url.href) ? new URL(href, auth_url).pathname : ''
  const prefix = auth_url.pathname.replace(/\/+$/, '')
  const isBelow = path.startsWith(`${prefix}/`)
  return isBelow ? `${auth_url.origin}${path.replace(/\/+$/, '')}` : `${base}/v3`
}
