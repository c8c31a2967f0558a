import { type CallerAttribute, callerAttributes, isCallerAttribute } from './credentials.ts'
import { nearestName, PolicyError } from './policy-error.ts'

/** A check string of oslo.policy's language, parsed. */
export type Check =
  | { readonly kind: 'all' }
  | { readonly kind: 'none' }
  | { readonly kind: 'not'; readonly check: Check }
  | { readonly kind: 'and' | 'or'; readonly checks: readonly Check[] }
  | { readonly kind: 'rule'; readonly name: string }
  | { readonly kind: 'role'; readonly value: Template }
  | { readonly kind: 'attribute'; readonly attribute: CallerAttribute; readonly value: Template }
  | { readonly kind: 'literal'; readonly text: string; readonly value: Template }

/** A text with places for attributes of the target: `%(name)s`. */
export type Template = readonly (string | { readonly target: string })[]

/** Longest check string, in characters, and how deep parentheses and `not` may nest. */
export const lengthMax = 8192
export const depthMax = 50

/**
 * Parses a check string, or the older form of it: a list, joined by "or", of lists of checks,
 * joined by "and".
 *
 * @throws {PolicyError} with the position
 */
export function parseCheck(source: unknown): Check {
  if (typeof source === 'string') return parseText(source)
  if (Array.isArray(source)) return parseLists(source)
  const advice = 'write "@" for everyone, "!" for nobody'
  throw new PolicyError(`a check is a text or a list, not ${describe(source)}; ${advice}`)
}

const describe = (value: unknown): string =>
  value === null ? 'empty' : typeof value === 'object' ? 'a mapping' : `a ${typeof value}`

function parseLists(lists: readonly unknown[]): Check {
  if (lists.length === 0) return { kind: 'all' }
  const texts = lists.flat(1).filter(text => typeof text === 'string')
  const length = texts.reduce((sum, text) => sum + text.length + 1, lists.length)
  if (length > lengthMax) throw new PolicyError(tooLong)
  const checks = lists.flatMap(inner => {
    const all: unknown[] = Array.isArray(inner) ? inner : [inner]
    return all.length === 0 ? [] : [joined('and', all.map(parseListed))]
  })
  return checks.length === 0 ? { kind: 'none' } : joined('or', checks)
}

function parseListed(text: unknown): Check {
  if (typeof text !== 'string') {
    throw new PolicyError(`a list has texts, or lists of texts, not ${describe(text)}`)
  }
  if (/^\(|\)$|[^\P{C}]|\s|^$/u.test(text)) {
    throw new PolicyError(`"${text}" in a list: a text is one check, without blanks and brackets`)
  }
  return parseOne(text, reason => new PolicyError(`"${text}" in a list: ${reason}`))
}

const joined = (kind: 'and' | 'or', checks: readonly Check[]): Check => {
  const [first] = checks
  return first && checks.length === 1 ? first : { kind, checks }
}

const tooLong = `the check is longer than ${lengthMax} characters; divide it into rules of their own`

type Token = { readonly text: string; readonly start: number }
type Fail = (reason: string, start: number) => PolicyError

function parseText(text: string): Check {
  if (text === '') return { kind: 'all' }
  if (text.length > lengthMax) throw new PolicyError(tooLong)
  const fail: Fail = (reason, start) =>
    new PolicyError(`"${excerpt(text, start)}" at character ${start + 1}: ${reason}`)
  const strange = /[^\P{C}\t\r\n]/u.exec(text)
  if (strange) throw fail('remove the character that cannot be printed', strange.index)
  const tokens = tokensOf(text)
  if (tokens.length === 0) throw fail('write "@" for everyone, "!" for nobody', 0)
  return new Parser(tokens, text.length, fail).parse()
}

const excerpt = (text: string, start: number): string =>
  (start < text.length ? text.slice(start) : text).replaceAll(/\s+/g, ' ').slice(0, 60)

/** Parentheses are tokens at the ends of a word; within, they are part of it. */
function tokensOf(text: string): Token[] {
  return [...text.matchAll(/\S+/g)].flatMap(({ 0: word, index }) => {
    const opened = word.length - word.replace(/^\(+/, '').length
    const rest = word.slice(opened)
    const length = lengthWithout(rest, ')')
    const signs = (sign: string, count: number, start: number) =>
      Array.from({ length: count }, (_, i) => ({ text: sign, start: start + i }))
    return [
      ...signs('(', opened, index),
      ...(length > 0 ? [{ text: rest.slice(0, length), start: index + opened }] : []),
      ...signs(')', rest.length - length, index + opened + length),
    ]
  })
}

function lengthWithout(text: string, last: string): number {
  let length = text.length
  while (length > 0 && text[length - 1] === last) length--
  return length
}

/** "not" binds closer than "and", "and" closer than "or". */
class Parser {
  readonly #tokens: readonly Token[]
  readonly #end: number
  readonly #fail: Fail
  #next = 0
  #depth = 0

  constructor(tokens: readonly Token[], end: number, fail: Fail) {
    this.#tokens = tokens
    this.#end = end
    this.#fail = fail
  }

  parse(): Check {
    const check = this.#either()
    const rest = this.#tokens[this.#next]
    if (!rest) return check
    const isClosing = rest.text === ')'
    const reason = isClosing ? 'nothing was opened that ")" closes' : 'put "and" or "or" before it'
    throw this.#fail(reason, rest.start)
  }

  #either(): Check {
    const checks = [this.#both()]
    while (this.#take('or')) checks.push(this.#both())
    return joined('or', checks)
  }

  #both(): Check {
    const checks = [this.#single()]
    while (this.#take('and')) checks.push(this.#single())
    return joined('and', checks)
  }

  #single(): Check {
    const token = this.#tokens[this.#next++]
    if (!token) throw this.#fail('a check is missing at the end', this.#end)
    const { text, start } = token
    const word = text.toLowerCase()
    if (word === 'and' || word === 'or' || text === ')') {
      throw this.#fail(`a check is missing before "${text}"`, start)
    }
    if (word !== 'not' && text !== '(') {
      return parseOne(text, (reason, offset = 0) => this.#fail(reason, start + offset))
    }
    if (++this.#depth > depthMax) {
      throw this.#fail(`nested deeper than ${depthMax}; make rules of their own of parts`, start)
    }
    const check = word === 'not' ? this.#single() : this.#either()
    if (text === '(' && !this.#take(')')) throw this.#fail('"(" is never closed', start)
    this.#depth--
    return word === 'not' ? { kind: 'not', check } : check
  }

  #take(word: string): boolean {
    const isThere = this.#tokens[this.#next]?.text.toLowerCase() === word
    if (isThere) this.#next++
    return isThere
  }
}

type FailInside = (reason: string, offset?: number) => PolicyError

function parseOne(text: string, fail: FailInside): Check {
  if (text === '@') return { kind: 'all' }
  if (text === '!') return { kind: 'none' }
  const first = text[0]
  if ((first === '"' || first === "'") && text.length > 1 && text.endsWith(first)) {
    throw fail('a quoted text is no check; write for instance role:admin')
  }
  const colon = text.indexOf(':')
  if (colon === -1) throw fail('a check is KIND:VALUE, for instance role:admin')
  const kind = text.slice(0, colon)
  const value = text.slice(colon + 1)
  if (value === '') throw fail('there is nothing behind the colon', colon)
  if (kind === 'rule') return { kind, name: ruleName(value, fail) }
  if (kind === 'http' || kind === 'https') {
    throw fail('checks that ask a server are not supported; ask for roles and attributes')
  }
  const template = parseTemplate(value, (reason, offset = 0) => fail(reason, colon + 1 + offset))
  if (kind === 'role') return { kind, value: template }
  if (isCallerAttribute(kind)) return { kind: 'attribute', attribute: kind, value: template }
  const literal = literalOf(kind)
  if (literal !== null) return { kind: 'literal', text: literal, value: template }
  if (/^['"]/.test(kind)) throw fail('quoted texts have no blank, no colon and no backslash')
  const words = Object.keys(callerAttributes)
  const nearest = nearestName(kind, ['rule', 'role', ...words])
  const meant = nearest ? `"${nearest}" is meant?` : `it has ${words.join(', ')}`
  throw fail(`a caller has no attribute "${kind}"; ${meant}`)
}

const ruleNamePattern = /^[\w.-]+(:[\w.-]+)*$/

function ruleName(name: string, fail: FailInside): string {
  if (isRuleName(name)) return name
  throw fail('a rule has a name of letters, digits, "_", "-", "." and ":"')
}

export const isRuleName = (name: string): boolean =>
  name.length <= 255 && ruleNamePattern.test(name)

const bareLiteral = /^(True|False|None|0|-?[1-9][0-9]{0,17})$/

/** As Python writes it; null if it is none of the literals that there are here. */
function literalOf(kind: string): string | null {
  if (bareLiteral.test(kind)) return kind
  return /^('[^'\\]*'|"[^"\\]*")$/.test(kind) ? kind.slice(1, -1) : null
}

const placePattern = /%(?:%|\(([\w.:-]+)\)s)|%/g

function parseTemplate(text: string, fail: FailInside): Template {
  const parts: (string | { target: string })[] = []
  const add = (literal: string) => {
    const last = parts.at(-1)
    if (literal === '') return
    if (typeof last === 'string') parts[parts.length - 1] = last + literal
    else parts.push(literal)
  }
  let next = 0
  for (const { 0: place, 1: target, index } of text.matchAll(placePattern)) {
    add(text.slice(next, index))
    if (place === '%') throw fail('"%" begins %(name)s; a "%" itself is written %%', index)
    if (target === undefined) add('%')
    else parts.push({ target })
    next = index + place.length
  }
  add(text.slice(next))
  return parts
}

/** The text of a check, which parses to the same. */
export function printCheck(check: Check): string {
  switch (check.kind) {
    case 'all':
      return '@'
    case 'none':
      return '!'
    case 'not':
      return `not ${printInside(check.check, ['and', 'or'])}`
    case 'and':
      return check.checks.map(part => printInside(part, ['and', 'or'])).join(' and ')
    case 'or':
      return check.checks.map(part => printInside(part, ['or'])).join(' or ')
    case 'rule':
      return `rule:${check.name}`
    case 'role':
      return `role:${printTemplate(check.value)}`
    case 'attribute':
      return `${check.attribute}:${printTemplate(check.value)}`
    case 'literal': {
      const value = printTemplate(check.value)
      if (bareLiteral.test(check.text)) return `${check.text}:${value}`
      // What begins and ends with the same quote is a quoted text, and no check.
      const quote = check.text.includes("'") || value.endsWith("'") ? '"' : "'"
      return `${quote}${check.text}${quote}:${value}`
    }
  }
}

const printInside = (check: Check, bracketed: readonly Check['kind'][]): string =>
  bracketed.includes(check.kind) ? `(${printCheck(check)})` : printCheck(check)

const printTemplate = (value: Template): string =>
  value
    .map(part => (typeof part === 'string' ? part.replaceAll('%', '%%') : `%(${part.target})s`))
    .join('')
