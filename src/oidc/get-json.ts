const bytesMax = 1_048_576

/**
 * The JSON object at a URL. Redirects are not followed: whom an issuer is configured to be decides.
 *
 * @throws {Error} whose message says in a few words why there is none
 */
export async function getJson(
  url: string,
  { timeout_seconds }: { readonly timeout_seconds: number },
): Promise<Readonly<Record<string, unknown>>> {
  const signal = AbortSignal.timeout(timeout_seconds * 1000)
  try {
    const headers = { accept: 'application/json' }
    const response = await fetch(url, { headers, redirect: 'error', signal })
    if (response.status !== 200) {
      await response.body?.cancel()
      throw new Error(`status ${response.status}`)
    }
    const value: unknown = JSON.parse(await readText(response))
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new Error('the answer is no JSON object')
    }
    return value as Readonly<Record<string, unknown>>
  } catch (cause) {
    throw new Error(`${url}: ${reasonOf(cause, timeout_seconds)}`, { cause })
  }
}

async function readText({ body }: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of body ?? []) {
    length += chunk.length
    if (length > bytesMax) throw new Error(`the answer is larger than ${bytesMax} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function reasonOf(error: unknown, timeout_seconds: number): string {
  if (!(error instanceof Error)) return String(error)
  if (error.name === 'TimeoutError') return `no answer in ${timeout_seconds} s`
  if (error instanceof SyntaxError) return 'the answer is no JSON'
  // What fetch itself fails with says nothing; its cause does.
  const { cause } = error as { cause?: { code?: string; message?: string } }
  return cause?.code || cause?.message || error.message
}
