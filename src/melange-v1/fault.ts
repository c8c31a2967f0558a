/** What a failure is called in a body, and the sentence that goes with its status. */
const kinds = {
  400: [
    'BadRequest',
    'The server could not comply with the request since it is either malformed or otherwise incorrect.',
  ],
  401: ['Unauthorized', 'This server could not verify that you are authorized to access it.'],
  403: ['Forbidden', 'Access was denied to this resource.'],
  404: ['NotFound', 'The resource could not be found.'],
  406: [
    'NotAcceptable',
    'The resource could not be generated that was acceptable to your browser.',
  ],
  409: ['Conflict', 'There was a conflict when trying to complete your request.'],
  413: ['RequestEntityTooLarge', 'The body of your request was too large for this server.'],
  414: ['RequestURITooLong', 'The address of your request was too long for this server.'],
  415: ['UnsupportedMediaType', 'The request media type is not supported by this server.'],
  422: ['UnprocessableEntity', 'Unable to process the contained instructions'],
  429: ['TooManyRequests', 'You have sent too many requests. Please try again later.'],
  431: [
    'RequestHeaderFieldsTooLarge',
    'The headers of your request were too large for this server.',
  ],
  500: [
    'InternalServerError',
    'The server has either erred or is incapable of performing the requested operation.',
  ],
  503: ['ServiceUnavailable', 'The server is currently unavailable. Please try again later.'],
} as const satisfies Record<number, readonly [string, string]>

export type FaultStatus = keyof typeof kinds

/** Why a request is refused, in the original's terms. A plain one is answered as plain text. */
export class Fault extends Error {
  override readonly name = 'Fault'
  readonly status: FaultStatus
  readonly detail: string | null
  readonly isPlain: boolean

  constructor(status: FaultStatus, detail: string | null, { isPlain = false } = {}) {
    super(detail ?? kinds[status][1])
    this.status = status
    this.detail = detail
    this.isPlain = isPlain
  }

  /** The one member of the body, and its name. */
  get body() {
    const [name, message] = kinds[this.status]
    return { name, code: this.status, message, detail: this.detail }
  }

  /** The fault as text, for what the original answers before it looks at formats. */
  get text(): string {
    const [name, message] = kinds[this.status]
    const title = name.replace(/(?<=[a-z])(?=[A-Z])/g, ' ')
    return `${this.status} ${title}\n\n${message}\n\n${this.detail ?? ''}\n`
  }
}

export const notFound = (model: string) => new Fault(404, `${model} Not Found`)

/** A path that there is not. */
export const noSuchPath = () => new Fault(404, null, { isPlain: true })

/** What is wrong with the fields of a request; each field may have several messages. */
export class FieldErrors {
  readonly #errors = new Map<string, string[]>()

  add(field: string, message: string): void {
    this.#errors.set(field, [...(this.#errors.get(field) ?? []), message])
  }

  /** @throws {Fault} 400 with all that was added, written as the original's Python does */
  throwIfAny(): void {
    if (this.#errors.size === 0) return
    const fields = [...this.#errors]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([field, messages]) => `'${field}': [${messages.map(quote).join(', ')}]`)
    throw new Fault(400, `The following values are invalid: {${fields.join(', ')}}`)
  }
}

/** One field that is wrong. */
export function refuseField(field: string, message: string): never {
  const errors = new FieldErrors()
  errors.add(field, message)
  errors.throwIfAny()
  throw new Error('unreachable: an error was added')
}

const quote = (text: string): string =>
  text.includes("'") && !text.includes('"') ? `u"${text}"` : `u'${text.replaceAll("'", "\\'")}'`
