/** A statement and its parameters; a server keeps a statement with a `name` prepared. */
export class Sql {
  readonly parts: readonly string[]
  readonly values: readonly unknown[]
  #text: string | undefined

  constructor(parts: readonly string[], values: readonly unknown[]) {
    this.parts = parts
    this.values = values
  }

  get text(): string {
    this.#text ??= this.parts.reduce((head, tail, index) => `${head}$${index}${tail}`)
    return this.#text
  }

  get name(): string | undefined {
    return nameOf(this.text)
  }
}

/**
 * sql`select … where id = ${id}`: every hole becomes a parameter, never text. A hole may hold
 * another `Sql`, which is spliced in with its own parameters.
 */
export function sql(strings: TemplateStringsArray, ...holes: readonly unknown[]): Sql {
  if (!holes.some(hole => hole instanceof Sql)) return new Sql(strings, holes)
  const parts = [strings[0] ?? '']
  const values: unknown[] = []
  const extend = (text: string) => parts.push((parts.pop() ?? '') + text)
  holes.forEach((hole, index) => {
    if (hole instanceof Sql) {
      extend(hole.parts[0] ?? '')
      values.push(...hole.values)
      parts.push(...hole.parts.slice(1))
    } else {
      values.push(hole)
      parts.push('')
    }
    extend(strings[index + 1] ?? '')
  })
  return new Sql(parts, values)
}

/** The conditions of a `where`; `true` if there are none. */
export function allOf(conditions: readonly Sql[]): Sql {
  return conditions.reduce((all, one) => sql`${all} and ${one}`, sql`true`)
}

/** Names for statement texts. Bounded: a text that comes too late is simply not kept prepared. */
const names = new Map<string, string>()
const namesMax = 500

function nameOf(text: string): string | undefined {
  const known = names.get(text)
  if (known || names.size >= namesMax) return known
  const name = `melange_${names.size + 1}`
  names.set(text, name)
  return name
}
