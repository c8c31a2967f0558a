import { SaxesParser } from 'saxes'

/** What one body may be; requests of this API are two levels deep. */
const depthMax = 16
const elementsMax = 10_000

type Element = {
  readonly name: string
  readonly members: Map<string, unknown>
  text: string
  hasChildren: boolean
}

/**
 * Reads a body as the original does: an element with nothing but text is that text, any other is an
 * object of its attributes and children. The root is the one member of the result.
 *
 * What is no well-formed XML is refused, and so is every document type: no entity but the five of
 * XML itself is known, so none is fetched or expanded.
 *
 * @throws {Error} saying why it is not read
 */
export function readXml(text: string): unknown {
  const open: Element[] = []
  let root: Record<string, unknown> | undefined
  let elements = 0
  const parser = new SaxesParser({ xmlns: false })
  parser.on('error', error => {
    throw error
  })
  parser.on('doctype', () => {
    throw new Error('document types are not read')
  })
  parser.on('opentag', ({ name, attributes }) => {
    if (open.length === depthMax) throw new Error('is nested too deeply')
    if (++elements > elementsMax) throw new Error('has too many elements')
    const parent = open.at(-1)
    if (parent) parent.hasChildren = true
    open.push({ name, members: new Map(Object.entries(attributes)), text: '', hasChildren: false })
  })
  const addText = (part: string) => {
    const element = open.at(-1)
    if (element) element.text += part
  }
  parser.on('text', addText)
  parser.on('cdata', addText)
  parser.on('closetag', () => {
    const element = open.pop()
    if (!element) return
    const parent = open.at(-1)
    if (parent) parent.members.set(element.name, contentOf(element))
    else root = Object.fromEntries([[element.name, contentOf(element)]])
  })
  parser.write(text).close()
  return root
}

/** Attributes are dropped where there is text, as in the original. */
function contentOf({ members, text, hasChildren }: Element): unknown {
  if (!hasChildren && (text !== '' || members.size === 0)) return text
  return Object.fromEntries(members)
}
