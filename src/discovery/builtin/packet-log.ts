import type { Logger } from 'pino'

/** So many packets are logged in a second; the rest are counted. */
const perSecondMax = 50

export type PacketLog = (describe: () => Readonly<Record<string, unknown>>) => void

/** Logs what became of packets, at level debug, and not more of them than anybody could read. */
export function createPacketLog(log: Logger): PacketLog {
  let second = 0
  let count = 0
  return describe => {
    if (!log.isLevelEnabled('debug')) return
    const now = Math.floor(performance.now() / 1000)
    if (now !== second) {
      if (count > perSecondMax) log.debug({ left_out: count - perSecondMax }, 'packets')
      second = now
      count = 0
    }
    count += 1
    if (count <= perSecondMax) log.debug(describe(), 'packet')
  }
}
