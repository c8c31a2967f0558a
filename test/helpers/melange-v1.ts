import { expect } from 'vitest'
import { type Api, adminToken } from './api.ts'

/** Whatever an answer of v0.1 or v1.0 may hold; a test reads the members that it expects. */
export type V1Answer = {
  readonly status: number
  // biome-ignore lint/suspicious/noExplicitAny: there is no document of what it answers
  readonly body: any
}

/** The API of v0.1 and v1.0; paths begin behind `/ipam/`. */
export function v1Of(api: Api) {
  const send =
    (method: 'GET' | 'POST' | 'PUT' | 'DELETE', version: 'v0.1' | 'v1.0') =>
    async (path: string, body?: object): Promise<V1Answer> => {
      const answer = await api.app.inject({
        method,
        url: `/${version}/ipam/${path}`,
        headers: {
          'x-auth-token': adminToken,
          ...(body && { 'content-type': 'application/json' }),
        },
        ...(body && { payload: body }),
      })
      const { statusCode: status, payload } = answer
      return { status, body: payload === '' ? null : JSON.parse(payload) }
    }
  const of = (version: 'v0.1' | 'v1.0') => ({
    get: send('GET', version),
    post: send('POST', version),
    put: send('PUT', version),
    delete: send('DELETE', version),
  })
  return { old: of('v0.1'), new: of('v1.0') }
}

/** The body of an answer of this status. */
export function v1Body(status: number, answer: V1Answer): V1Answer['body'] {
  expect(answer).toMatchObject({ status })
  return answer.body
}
