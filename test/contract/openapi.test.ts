import { expect, test } from 'vitest'
import { errorCatalogue, isErrorCode } from '../../src/errors.ts'
import { useApi } from '../helpers/api.ts'
import { operationsOf } from '../helpers/contract.ts'

const api = useApi()

test('is served as it is', async () => {
  const { status, body } = await api.send({ method: 'GET', url: '/v2/openapi.json' })
  expect(status).toBe(200)
  expect(body).toEqual(JSON.parse(JSON.stringify(api.app.swagger())))
  expect(body).toMatchObject({ openapi: '3.1.0', info: { title: 'Melange' } })
})

test('every operation has an id of its own, a summary and a tag', () => {
  const operations = operationsOf(api.app) as { operationId: string; summary?: string }[]
  const ids = operations.map(({ operationId }) => operationId)
  expect(new Set(ids).size).toBe(ids.length)
  for (const operation of operations) {
    expect(operation).toMatchObject({
      operationId: expect.stringMatching(
        /^(list|get|explain|create|update|set|delete|release|renew|confirm|restore|end|revoke|report)[A-Z]\w+$/,
      ),
      summary: expect.stringMatching(/^[A-Z]/),
      tags: [expect.any(String)],
    })
  }
})

test('every route of the app is in it', () => {
  const documented = operationsOf(api.app).map(({ method, path }) => `${method} ${path}`)
  for (const { method, url } of routesOf(api.app.printRoutes({ commonPrefix: false }))) {
    if (method === 'HEAD' || url === '/v2/openapi.json' || url === '/v2/') continue
    // The original API has paths of its own kind; test/conformance has them.
    if (url.endsWith('*') || /^\/(v0\.1|v1\.0|ipam|extensions)$/.test(url)) continue
    expect(documented).toContain(`${method} ${url}`)
  }
})

test('every operation of v2 lists its problems, each by a code of the catalogue', () => {
  for (const operation of operationsOf(api.app)) {
    const { path, method, responses, operationId } = operation
    if (!path.startsWith('/v2')) continue
    const codes = Object.entries(responses)
      .filter(([status]) => status >= '400')
      .flatMap(([status, { description, content }]) => {
        const schema = content?.['application/problem+json']?.schema
        expect([operationId, schema]).toEqual([
          operationId,
          { $ref: '#/components/schemas/Problem' },
        ])
        const named = [...description.matchAll(/`(\w+)`/g)].map(([, code]) => String(code))
        for (const code of named) {
          if (!isErrorCode(code)) throw new Error(`${operationId}: no such code as ${code}`)
          expect([code, errorCatalogue[code].status]).toEqual([code, Number(status)])
        }
        return named
      })
    const everywhere = ['invalid_request', 'authentication_required', 'internal']
    const changing = ['payload_too_large', 'unsupported_media_type', 'overloaded']
    expect(codes).toEqual(expect.arrayContaining([...everywhere, 'database_unavailable']))
    if (method !== 'GET') expect(codes).toEqual(expect.arrayContaining(changing))
    // A device is no more than the interfaces that name it, so none is unknown.
    if (path.includes('{') && !path.includes('/devices/'))
      expect(codes.join()).toMatch(/_not_found/)
  }
})

test('every code of the catalogue that a client of an operation can meet is listed', () => {
  const text = JSON.stringify(api.app.swagger())
  const unused = Object.keys(errorCatalogue).filter(code => !text.includes(`\`${code}\``))
  // The latter is the last line of defence, in the database, behind `address_taken`.
  expect(unused).toEqual(['route_not_found', 'prefix_taken'])
})

test('every path parameter is declared, and every reference leads somewhere', () => {
  for (const { path, parameters = [], operationId } of operationsOf(api.app)) {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
    const declared = parameters.filter(one => one.in === 'path').map(({ name }) => name)
    expect([operationId, declared]).toEqual([operationId, inPath])
  }
  const document = JSON.parse(JSON.stringify(api.app.swagger()))
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)]
  expect(references.length).toBeGreaterThan(20)
  for (const [, reference = ''] of references) {
    expect(reference).toMatch(/^#\//)
    const found = reference
      .slice(2)
      .split('/')
      .reduce((node, step) => node?.[step], document)
    expect([reference, typeof found]).toEqual([reference, 'object'])
  }
})

test('only what needs no token says so', () => {
  const open = operationsOf(api.app).filter(({ security }) => security?.length === 0)
  expect(open.map(({ path }) => path)).toEqual(['/', '/healthz', '/readyz'])
})

/** The routes of Fastify's tree, which prints a path in pieces, four columns further in each. */
function routesOf(tree: string): { method: string; url: string }[] {
  const path: string[] = []
  return tree.split('\n').flatMap(line => {
    const [, indent, piece, methods] = /^([│ ]*)[├└]── (\S*)(?: \(([A-Z, ]+)\))?$/.exec(line) ?? []
    if (indent === undefined || piece === undefined) return []
    path.splice(indent.length / 4, path.length, piece)
    const url = path.join('').replaceAll(/:(\w+)/g, '{$1}')
    return (methods?.split(', ') ?? []).map(method => ({ method, url }))
  })
}
