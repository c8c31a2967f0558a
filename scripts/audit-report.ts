export type Finding = { readonly name: string; readonly severity: string; readonly range: string }

/** What `npm audit --json` says, or that it could not tell. */
export type Report =
  | { readonly kind: 'report'; readonly findings: readonly Finding[] }
  | { readonly kind: 'unknown'; readonly reason: string }

/** Reads the output of `npm audit --json`; findings are those of high and critical severity. */
export function readReport(output: string): Report {
  const report = parse(output)
  const { vulnerabilities } = report
  if (typeof vulnerabilities !== 'object' || vulnerabilities === null) {
    const { message, error } = report as { message?: string; error?: { summary?: string } }
    return { kind: 'unknown', reason: error?.summary || message || '' }
  }
  const findings = (Object.values(vulnerabilities) as Finding[])
    .filter(({ severity }) => severity === 'high' || severity === 'critical')
    .map(({ name, severity, range }) => ({ name, severity, range }))
  return { kind: 'report', findings }
}

function parse(output: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(output) ?? {}
  } catch {
    return {}
  }
}
