// What a log says of a path. Tokens do not belong into URLs, but somebody will put one there.

const patterns = [
  /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i, // an id
  /^\d{1,20}$/,
  /^(\d{1,3}\.){3}\d{1,3}(%2f\d{1,2})?$/i, // an IPv4 address or CIDR
  /^(?=.*:)[0-9a-f:.]{2,45}(%2f\d{1,3})?$/i, // an IPv6 address or CIDR, a MAC
]

export type PathLog = {
  /** Takes the words of a route's pattern for known. */
  learn(pattern: string): void
  /**
   * The path of a URL as it may be logged: words of our routes and ids. Anything else, which may be
   * a token, is `*`; there is no query.
   */
  show(url: string): string
}

export function createPathLog(): PathLog {
  const words = new Set<string>(['', 'public', 'default'])
  const isKnown = (step: string): boolean => {
    if (words.has(step) || isPlain(step)) return true
    const format = /\.(json|xml)$/.exec(step)
    return format !== null && isKnown(step.slice(0, format.index))
  }
  return {
    learn(pattern) {
      for (const step of pattern.split('/')) if (!/[:*]/.test(step)) words.add(step)
    },
    show(url) {
      const end = url.search(/[?;#]/)
      const path = end === -1 ? url : url.slice(0, end)
      return path
        .split('/')
        .map(step => (isKnown(step) ? step : '*'))
        .join('/')
    },
  }
}

const isPlain = (step: string): boolean =>
  step.length <= 48 && patterns.some(pattern => pattern.test(step))
