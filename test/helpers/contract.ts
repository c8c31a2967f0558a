import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import type { buildApp } from '../../src/app.ts'

type App = Awaited<ReturnType<typeof buildApp>>
type Media = { readonly schema: object }
type Operation = {
  readonly operationId: string
  readonly parameters?: readonly {
    readonly name: string
    readonly in: string
    readonly required?: boolean
  }[]
  readonly security?: readonly object[]
  readonly responses: Record<
    string,
    {
      readonly description: string
      readonly content?: Record<string, Media>
      readonly headers?: Record<string, object>
    }
  >
}

/** An operation of the OpenAPI document, with where it stands there. */
export type Documented = Operation & { readonly method: string; readonly path: string }

/** The operations that the OpenAPI document of an app describes. */
export function operationsOf(app: App): Documented[] {
  return Object.entries(app.swagger().paths ?? {}).flatMap(([path, methods]) =>
    Object.entries(methods as Record<string, Operation>).map(([method, operation]) => ({
      ...operation,
      method: method.toUpperCase(),
      path,
    })),
  )
}

export type Answer = {
  readonly status: number
  readonly body: unknown
  readonly media: string | undefined
  readonly headers: Readonly<Record<string, unknown>>
}

/** A check that an answer is one which the OpenAPI document of the app promises. */
export function contractOf(app: App) {
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  ajv.addFormat('uuid', /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
  ajv.addSchema(JSON.parse(JSON.stringify(app.swagger())), 'openapi')
  const routes = operationsOf(app).map(operation => ({
    ...operation,
    pattern: new RegExp(`^${operation.path.replaceAll(/\{[^}]+\}/g, '[^/]+')}$`),
  }))
  const validators = new Map<string, ValidateFunction>()

  return (method: string, url: string, { status, body, media, headers }: Answer): void => {
    const path = url.split('?')[0] ?? ''
    // Of two that match, `/v2/allocations/release` for one, the one without parameters is meant.
    const route = routes
      .filter(one => one.method === method && one.pattern.test(path))
      .toSorted((a, b) => a.path.split('{').length - b.path.split('{').length)[0]
    if (!route) return
    const where = `${method} ${route.path} ${status}`
    const response = route.responses[status]
    if (!response) throw new Error(`${where} is not documented: ${JSON.stringify(body)}`)
    // What has a generation has it as its entity tag, with a digest of the addresses that it shows; some
    // have a hash, and nothing else has a tag.
    const { generation, addresses } = (body ?? {}) as { generation?: unknown; addresses?: object[] }
    const isHashed = generation === undefined && response.headers?.ETag !== undefined
    const digest = addresses?.length ? '-[0-9a-f]{16}' : ''
    const tag = generation === undefined ? /^undefined$/ : new RegExp(`^"${generation}${digest}"$`)
    const isTagged = isHashed ? isHash(headers.etag) : tag.test(String(headers.etag))
    if (status !== 304 && !isTagged) throw new Error(`${where}: tagged ${headers.etag}`)
    if (headers.etag !== undefined && !response.headers?.ETag) {
      throw new Error(`${where} is not documented with an ETag`)
    }
    if (headers['idempotency-replayed'] && !response.headers?.['Idempotency-Replayed']) {
      throw new Error(`${where} is not documented as an answer that may be repeated`)
    }
    if (!response.content || !media) {
      if (response.content || media) throw new Error(`${where} has a body, or should have one`)
      return
    }
    if (!response.content[media]) throw new Error(`${where} is not documented as ${media}`)
    const code = status >= 400 && (body as { code?: string }).code
    if (code && !response.description.includes(`\`${code}\``)) {
      throw new Error(`${where} is not documented with the code ${code}`)
    }
    const steps = ['paths', route.path, method.toLowerCase(), 'responses', String(status)]
    const pointer = [...steps, 'content', media, 'schema'].map(escapePointer).join('/')
    const validate = validators.get(pointer) ?? ajv.compile({ $ref: `openapi#/${pointer}` })
    validators.set(pointer, validate)
    if (!validate(body)) {
      const errors = ajv.errorsText(validate.errors)
      throw new Error(`${where} breaks the contract: ${errors}\n${JSON.stringify(body)}`)
    }
  }
}

const isHash = (etag: unknown) => /^"[\w-]{43}"$/.test(String(etag))

const escapePointer = (step: string) =>
  encodeURIComponent(step.replaceAll('~', '~0').replaceAll('/', '~1'))
