// Who has a project may leave it out of a body (enforce.ts), which the schemas that check bodies know
// nothing of; here the OpenAPI document learns it.

type Schema = {
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly required?: readonly string[]
}
type Content = Readonly<Record<string, { readonly schema?: Schema }>>
type Operation = { readonly requestBody?: { readonly content?: Content } }
type Document = {
  readonly paths?: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components?: { readonly schemas?: Readonly<Record<string, Schema>> }
}

const description = 'Left out: the project of the token.'

/** Documents that bodies may leave out the project. */
export function describeProjects(made: object): object {
  const document = made as Document
  const schemas = mapValues(document.components?.schemas ?? {}, (schema, name) =>
    name.endsWith('Request') ? withoutProject(schema) : schema,
  )
  const paths = mapValues(document.paths ?? {}, operations =>
    mapValues(operations, operation => {
      const { requestBody } = operation
      if (!requestBody?.content) return operation
      const content = mapValues(requestBody.content, ({ schema, ...rest }) => ({
        ...rest,
        ...(schema && { schema: withoutProject(schema) }),
      }))
      return { ...operation, requestBody: { ...requestBody, content } }
    }),
  )
  return { ...document, paths, components: { ...document.components, schemas } }
}

function withoutProject(schema: Schema): Schema {
  const { properties, required = [] } = schema
  if (!properties) return schema
  const { project_id, items } = properties
  const ofItems = items?.items && { items: { ...items, items: withoutProject(items.items) } }
  const ofProject = project_id &&
    required.includes('project_id') && { project_id: { ...project_id, description } }
  if (!ofItems && !ofProject) return schema
  return {
    ...schema,
    properties: { ...properties, ...ofItems, ...ofProject },
    required: required.filter(name => name !== 'project_id'),
  }
}

function mapValues<T, R>(
  values: Readonly<Record<string, T>>,
  change: (value: T, name: string) => R,
): Record<string, R> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, change(value, name)]),
  )
}
