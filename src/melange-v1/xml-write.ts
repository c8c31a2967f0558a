import { type Data, Timestamp } from './values.ts'

/** An element of XML, as text. */
function element(name: string, content: string, attributes: Record<string, string> = {}): string {
  const written = Object.entries(attributes).map(([key, value]) => ` ${key}="${escapeText(value)}"`)
  return `<${name}${written.join('')}>${content}</${name}>`
}

/**
 * Data as the original writes it: a list holds elements of its name without the last letter, which
 * makes `ip_addresse` of `ip_addresses`, and null is the text `None`.
 */
export function writeXml(name: string, data: Data): string {
  return element(name, writeContent(name, data))
}

function writeContent(name: string, data: Data): string {
  if (Array.isArray(data)) {
    const one = name.endsWith('s') ? name.slice(0, -1) : 'item'
    return data.map((item: Data) => writeXml(one, item)).join('')
  }
  if (typeof data === 'object' && data !== null && !(data instanceof Timestamp)) {
    return Object.entries(data)
      .map(([member, value]: [string, Data]) => writeXml(member, value))
      .join('')
  }
  if (typeof data === 'boolean') return data ? 'True' : 'False'
  return escapeText(String(data ?? 'None'))
}

/** A link to the next page, which stands among the entries of the page. */
export type Link = { readonly rel: string; readonly href: string }

/** A page of a list. */
export function writeXmlPage(name: string, entries: readonly Data[], links: readonly Link[]) {
  const written = links.map(({ rel, href }) => element('link', '', { rel, href })).join('')
  return element(name, writeContent(name, entries) + written)
}

export type FaultBody = {
  readonly name: string
  readonly code: number
  readonly message: string
  readonly detail: string | null
}

export function writeXmlFault({ name, code, message, detail }: FaultBody): string {
  const content = writeXml('message', message) + writeXml('detail', detail)
  return element(name, content, { code: String(code) })
}

export type VersionEntry = {
  readonly name: string
  readonly status: string
  readonly links: readonly Link[]
}

export function writeXmlVersions(versions: readonly VersionEntry[]): string {
  const written = versions.map(({ name, status, links }) => {
    const inside = links.map(({ rel, href }) => element('link', '', { href, rel })).join('')
    return element('version', element('links', inside), { name, status })
  })
  return element('versions', written.join(''))
}

/** An empty list of extensions. */
export const xmlExtensions =
  '<extensions xmlns:atom="http://www.w3.org/2005/Atom" xmlns="http://docs.openstack.org/melange"></extensions>'

/** Characters that XML cannot hold at all are left out. */
function escapeText(text: string): string {
  return text
    .replaceAll(/[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu, '')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll('\r', '&#13;') // Readers make a bare one a line feed (XML 1.0 §2.11).
}
