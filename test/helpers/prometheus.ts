/** One line of Prometheus' text format. */
export type Sample = {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const line = /^([a-z][a-z0-9_]*)(?:\{(.*)\})? (\S+)$/
const label = /([a-z_]+)="((?:[^"\\]|\\.)*)"(?:,|$)/g

/** Reads Prometheus' text format; every metric has to be described and typed before its samples. */
export function readSamples(text: string): Sample[] {
  const described = new Set<string>()
  const typed = new Map<string, string>()
  if (!text.endsWith('\n')) throw new Error('the last line does not end')
  return text.split('\n').flatMap(row => {
    if (row === '') return []
    const [, help] = /^# HELP (\w+) \S/.exec(row) ?? []
    if (help) described.add(help)
    const [, subject = '', type] = /^# TYPE (\w+) (counter|gauge|histogram)$/.exec(row) ?? []
    if (type && typed.has(subject)) throw new Error(`${subject} is there twice`)
    if (type) typed.set(subject, type)
    if (row.startsWith('#')) return []

    const [, name = '', labels, number] = line.exec(row) ?? []
    const value = Number(number)
    if (Number.isNaN(value)) throw new Error(`not a sample: ${row}`)
    const family = typed.has(name) ? name : name.replace(/_(bucket|sum|count)$/, '')
    if (!described.has(family) || (family !== name && typed.get(family) !== 'histogram')) {
      throw new Error(`${name} is not described`)
    }
    return [{ name, labels: readLabels(labels), value }]
  })
}

function readLabels(text = ''): Record<string, string> {
  const found = [...text.matchAll(label)]
  if (found.map(([whole]) => whole).join('') !== text) throw new Error(`not labels: ${text}`)
  return Object.fromEntries(found.map(([, name = '', value = '']) => [name, value]))
}

/** The sum of the samples of a name that bear these labels; undefined if there is none. */
export function sumOf(
  samples: readonly Sample[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number | undefined {
  const wanted = Object.entries(labels)
  const found = samples.filter(
    sample => sample.name === name && wanted.every(([key, value]) => sample.labels[key] === value),
  )
  if (found.length === 0) return undefined
  return found.reduce((sum, { value }) => sum + value, 0)
}
