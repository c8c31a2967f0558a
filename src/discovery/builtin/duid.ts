import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { duidTypes } from '../../dhcp/v6/identity.ts'
import { DiscoveryError } from '../driver.ts'

/**
 * The DUID of this server, of a random UUID (RFC 6355 §4), made once and kept in a folder: clients
 * address it by that (RFC 8415 §11).
 *
 * @throws {DiscoveryError} if it can be neither read nor written
 */
export function serverDuid(folder: string): Buffer {
  const file = join(folder, 'duid')
  try {
    const text = readFileSync(file, 'utf8').trim()
    if (/^0004[0-9a-f]{32}$/.test(text)) return Buffer.from(text, 'hex')
    throw new DiscoveryError(`${file} does not hold a DUID of a UUID: remove it for a new one`)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw asDiscoveryError(error)
  }
  const duid = Buffer.concat([Buffer.of(0, duidTypes.uuid), randomUuid()])
  try {
    writeWhole(file, `${duid.toString('hex')}\n`)
  } catch (error) {
    throw asDiscoveryError(error)
  }
  return duid
}

const asDiscoveryError = (error: unknown) =>
  error instanceof DiscoveryError
    ? error
    : new DiscoveryError(error instanceof Error ? error.message : String(error))

/** Of version 4 (RFC 9562 §5.4). */
function randomUuid(): Buffer {
  const bytes = randomBytes(16)
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  return bytes
}

/** Writes a file so that it is there as a whole or not at all, also after a crash. */
function writeWhole(file: string, text: string) {
  const fd = openSync(`${file}.new`, 'w', 0o600)
  try {
    writeSync(fd, text)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  renameSync(`${file}.new`, file)
}
