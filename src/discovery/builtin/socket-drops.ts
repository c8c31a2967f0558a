import { readFileSync } from 'node:fs'

/** How many packets the sockets at some ports of the own network namespace had no room for. */
export function countDrops(ports: Readonly<Record<4 | 6, number>>): number {
  return dropsIn(read('/proc/net/udp'), ports[4]) + dropsIn(read('/proc/net/udp6'), ports[6])
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return '' // Without IPv6 there is no such file.
  }
}

/** Of a table of sockets: local addresses in the second column, drops in the last. */
export function dropsIn(table: string, port: number): number {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  let drops = 0
  for (const line of table.split('\n').slice(1)) {
    const columns = line.trim().split(/\s+/)
    if (columns[1]?.endsWith(suffix)) drops += Number(columns.at(-1))
  }
  return drops
}
