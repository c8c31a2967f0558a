import { readFileSync } from 'node:fs'
import { parseDocument, visit } from 'yaml'
import { ruleDefaults } from './defaults.ts'
import { PolicyError } from './policy-error.ts'
import { buildRules, type Rules } from './rules.ts'

/**
 * The rules of a policy file over the defaults, or just these.
 *
 * @throws {PolicyError}
 */
export function loadPolicy(file: string | undefined): Rules {
  return file === undefined ? buildRules(ruleDefaults) : readPolicy(file, readText(file))
}

export type PolicyOptions = {
  readonly file: string | undefined
  /** Told once of each text that is refused. */
  readonly onError: (error: PolicyError) => void
  /** Told of each text that takes effect after the first. */
  readonly onChange: (rules: Rules) => void
  /** Milliseconds of any clock that only goes forward. */
  readonly now?: () => number
}

/** Between two looks into the file, in milliseconds. */
export const lookMilliseconds = 1000

/**
 * A function that returns the rules in effect. At most once a second it looks into the file, so that
 * what is asked a second after a change is answered by it, wherever the file is kept: a small file is
 * read in less time than it takes to make sure that its times can be trusted. A file that is broken, or
 * away, changes nothing.
 *
 * @throws {PolicyError} if the file is not usable now
 */
export function openPolicy(options: PolicyOptions): () => Rules {
  const { file, onError, onChange, now = () => performance.now() } = options
  if (file === undefined) {
    const rules = loadPolicy(file)
    return () => rules
  }
  let text = readText(file)
  let rules = readPolicy(file, text)
  let lookedAt = now()
  /** The refusal that was told last. */
  let refusal: string | null = null

  function look(path: string): void {
    try {
      const read = readText(path)
      if (read === text && refusal === null) return
      if (read !== text) {
        rules = readPolicy(path, read)
        text = read
        onChange(rules)
      }
      refusal = null
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error
      if (error.message !== refusal) onError(error)
      refusal = error.message
    }
  }

  return () => {
    const time = now()
    if (time - lookedAt >= lookMilliseconds) {
      lookedAt = time
      look(file)
    }
    return rules
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    const reason = code === 'ENOENT' ? 'there is no such file' : message
    throw new PolicyError(`${file}: ${reason}`, { cause })
  }
}

/** Characters of a policy file. */
export const fileLengthMax = 1_000_000

function readPolicy(file: string, text: string): Rules {
  try {
    return buildRules(ruleDefaults, readOverrides(text))
  } catch (cause) {
    if (cause instanceof PolicyError) throw new PolicyError(`${file}: ${cause.message}`, { cause })
    throw cause
  }
}

/** The checks by their names, not parsed yet. */
export function readOverrides(text: string): Record<string, unknown> {
  if (text.length > fileLengthMax) {
    throw new PolicyError(`the file is longer than ${fileLengthMax} characters`)
  }
  // So looks a file that is being written, which shall not undo every rule for a moment.
  if (text.trim() === '') throw new PolicyError('the file is empty; write {} if there are no rules')
  const value = parseYaml(text) ?? {}
  if (typeof value === 'object' && !Array.isArray(value)) return value as Record<string, unknown>
  throw new PolicyError('the file is not a YAML mapping of names to checks')
}

function parseYaml(text: string): unknown {
  const document = parseDocument(text, { logLevel: 'error' })
  const [error] = document.errors
  if (error) throw new PolicyError(firstLineOf(error))
  visit(document, {
    Node: (_, { tag, range }) => {
      if (tag === undefined) return
      // "!" without quotes is a tag of YAML on an empty text, which would allow everything.
      const line = text.slice(0, range?.[0]).split('\n').length
      throw new PolicyError(`line ${line}: "${tag}" is no check; put a check with "!" in quotes`)
    },
  })
  try {
    return document.toJS()
  } catch (cause) {
    throw new PolicyError(firstLineOf(cause as Error), { cause })
  }
}

const firstLineOf = ({ message }: Error): string => (message.split('\n')[0] ?? '').replace(/:$/, '')
