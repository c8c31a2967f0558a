import { type DestinationStream, type LevelWithSilent, type Logger, pino } from 'pino'

/**
 * Tokens of our own, of Keystone (Fernet, and JWS, which is a JWT) and of OpenID Connect, by their form. The
 * beginning of one of ours may be shown: it is in lists, too.
 */
const tokens = /(melange_[\w-]{6})[\w-]{20,}|gAAAA[\w-]{20,}(?:=|%3[dD])*|eyJ[\w-]{10,}\.[\w.-]*/g
const secretLengthMin = 8

export type LogOptions = {
  readonly level: LevelWithSilent
  /** A token whose form nobody knows. */
  readonly admin_token: string | undefined
  readonly destination: DestinationStream
}

/**
 * The log. Nothing that writes to it means to write a token; where one comes along all the same, as
 * a name of a project for one, it is taken out of the line.
 */
export function createLogger({ level, admin_token, destination }: LogOptions): Logger {
  return pino({ level, name: 'melange', hooks: { streamWrite: hider(admin_token) } }, destination)
}

function hider(admin_token: string | undefined): (line: string) => string {
  const secret = admin_token === undefined ? '' : JSON.stringify(admin_token).slice(1, -1)
  const hideKnown = (line: string) =>
    // To look for the beginnings first takes a tenth of the time.
    line.includes('melange_') || line.includes('gAAAA') || line.includes('eyJ')
      ? line.replace(tokens, (_, start?: string) => (start === undefined ? '…' : `${start}…`))
      : line
  // A shorter one would be found in words that have nothing to do with it.
  if (secret.length < secretLengthMin) return hideKnown
  return line => hideKnown(line).replaceAll(secret, '…')
}
