import { Fault } from './fault.ts'
import type { Call } from './route-table.ts'
import { type Fields, fieldsOf } from './values.ts'
import { readXml } from './xml-read.ts'

const nothing: Fields = new Map()

/**
 * The members of a body.
 *
 * @throws {Fault} plain, 415 or 400
 */
export function readBody(text: string, contentType: string | undefined): Fields {
  if (text === '') return nothing
  const media = contentType?.split(';')[0]?.trim().toLowerCase()
  const read =
    media === 'application/json' ? JSON.parse : media === 'application/xml' ? readXml : null
  if (!read) throw new Fault(415, 'Unsupported Content-Type', { isPlain: true })
  let value: unknown
  try {
    value = read(text)
  } catch {
    throw new Fault(400, 'Malformed request body', { isPlain: true })
  }
  // Python's empty values say nothing.
  const isEmpty = Array.isArray(value) ? value.length === 0 : !value
  if (isEmpty) return nothing
  const fields = fieldsOf(value)
  if (!fields) throw new Fault(400, 'The body should be an object')
  return fields
}

/**
 * The members of what the body is about; none if it is not there.
 *
 * @throws {Fault} 400
 */
export function readModel({ body }: Pick<Call, 'body'>, name: string): Fields {
  return readFields(body.get(name), name)
}

/** The same of a value. An empty element of XML, which is an empty text, has no members. */
export function readFields(value: unknown, name: string): Fields {
  if (value === undefined || value === null || value === '') return nothing
  const fields = fieldsOf(value)
  if (!fields) throw new Fault(400, `${name} should be an object`)
  return fields
}
