import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const runner = fileURLToPath(new URL('../conformance/run.mjs', import.meta.url))

/** The corpora of test/conformance, and `melange_v1` of the configuration that each is for. */
export const corpora: Readonly<Record<string, object>> = {
  main: {},
  own: {},
  auth: { identity_headers: true },
  'default-cidr': { default_cidr: '10.0.0.0/24' },
  extensions: { extensions: true },
  'keep-deallocated': { keep_deallocated_ips: true },
  rfc2462: { ipv6_generator: 'eui64' },
}

/** Scenarios that differ, because what the original does there is not wanted: docs/melange-v1.md. */
export const differing: Readonly<Record<string, string>> = {
  '088-next-gives-up-after-five-taken': 'the next free address is given',
  '127-range-on-ipv6-block': 'policies hold for generated IPv6 addresses too',
  '132-octet-on-ipv6-block': 'an octet is the last 8 bits of an IPv6 address too',
  '176-interface-unknown-network': 'a request that fails leaves nothing behind',
  '188-allowed-v6': 'an IPv6 address is found in any spelling',
  '197-instance-unknown-network': 'a request that fails leaves nothing behind',
}

type Scenario = { readonly id: string; readonly passed: boolean; readonly diff: readonly string[] }

export const runnerArguments = (url: string, corpus: string, token: string): string[] => [
  ...[runner, 'check', url, '--header', `X-Auth-Token: ${token}`],
  ...(corpus === 'main' ? [] : ['--corpus', corpus]),
]

/** Replays a corpus against a server. */
export async function replay(
  url: string,
  { corpus, token, folder }: { corpus: string; token: string; folder: string },
): Promise<Scenario[]> {
  const report = join(folder, `${corpus}.json`)
  const args = [...runnerArguments(url, corpus, token), '--report', report]
  const child = spawn(process.execPath, args, { stdio: 'ignore' })
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0 && code !== 1) throw new Error(`the runner ended with ${code}`)
  return JSON.parse(readFileSync(report, 'utf8')) as Scenario[]
}
