// What holds for the headers of all routes alike is written into the OpenAPI document here, so that
// no route can forget it.

type Parameter = { readonly name: string; readonly in: string }
type Response = {
  readonly description?: string
  readonly headers?: Readonly<Record<string, object>>
  readonly content?: Readonly<Record<string, { readonly schema?: { readonly $ref?: string } }>>
}
type Operation = {
  readonly parameters?: readonly Parameter[]
  readonly responses: Readonly<Record<string, Response>>
}
type Path = Readonly<Record<string, Operation>>
type Schema = { readonly properties?: Readonly<Record<string, unknown>> }
type Document = {
  readonly paths?: Readonly<Record<string, Path>>
  readonly components?: { readonly schemas?: Readonly<Record<string, Schema>> }
}

const inHeader = (name: string, description: string, schema: object = {}) => ({
  name,
  in: 'header',
  required: false,
  description,
  schema: { type: 'string', ...schema },
})

const idempotencyKey = inHeader(
  'Idempotency-Key',
  'A text that no other request of the caller has. The same request with the same key is done once, and always gets the first answer.',
  { minLength: 1, maxLength: 255, pattern: '^[ -~]+$' },
)
const ifMatch = inHeader(
  'If-Match',
  'Entity tags, of which one must be that of the object, or `*`.',
  { examples: ['"7"'] },
)
const ifNoneMatch = inHeader(
  'If-None-Match',
  'Entity tags that the caller knows: if one is that of the object, the answer is 304.',
  { examples: ['"7"'] },
)

const replayed = {
  'Idempotency-Replayed': {
    description: 'The request had been done before, and this is the answer that it got then.',
    schema: { type: 'string', enum: ['true'] },
  },
}
const etag = {
  ETag: {
    description: 'The entity tag of the object: its generation.',
    schema: { type: 'string', examples: ['"7"'] },
  },
}

/** Describes `Idempotency-Key` on every write, and entity tags wherever an object has a generation. */
export function describeHeaders(made: object): object {
  const { openapiObject: document = {} } = made as { openapiObject?: Document }
  const schemas = document.components?.schemas ?? {}
  const hasGeneration = ({ content }: Response): boolean => {
    const reference = content?.['application/json']?.schema?.$ref ?? ''
    const schema = schemas[reference.replace('#/components/schemas/', '')]
    return schema?.properties?.generation !== undefined
  }

  const describe = (operation: Operation, { method, isTagged }: Place): Operation => {
    const isWrite = method !== 'get'
    const answers = Object.entries(operation.responses).map(([status, response]) => {
      if (status >= '300') return [status, response]
      const headers = {
        ...response.headers,
        ...(hasGeneration(response) && etag),
        ...(isWrite && replayed),
      }
      return [status, Object.keys(headers).length > 0 ? { ...response, headers } : response]
    })
    const isRead = isTagged && !isWrite
    const tag = operation.responses[200]?.headers ?? etag
    const unchanged = { description: 'The caller knows the object as it is.', headers: tag }
    return {
      ...operation,
      parameters: [
        ...(operation.parameters ?? []),
        ...(isWrite ? [idempotencyKey] : []),
        ...(isWrite && isTagged ? [ifMatch] : []),
        ...(isRead ? [ifNoneMatch] : []),
      ],
      responses: { ...Object.fromEntries(answers), ...(isRead && { 304: unchanged }) },
    }
  }

  const paths = Object.entries(document.paths ?? {}).map(([path, operations]) => {
    if (!path.startsWith('/v2/')) return [path, operations]
    const isTaggedBy = (method: string) => {
      const answer = operations[method]?.responses[200] ?? {}
      return hasGeneration(answer) || answer.headers?.ETag !== undefined
    }
    const described = Object.entries(operations).map(([method, operation]) => {
      const isTagged = isTaggedBy('get') || (method !== 'get' && isTaggedBy('put'))
      return [method, describe(operation, { method, isTagged })]
    })
    return [path, Object.fromEntries(described)]
  })
  return { ...document, paths: Object.fromEntries(paths) }
}

/** Where an operation stands: whether what its path names has an entity tag. */
type Place = { readonly method: string; readonly isTagged: boolean }
