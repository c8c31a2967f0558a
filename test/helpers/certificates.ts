import { createPrivateKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

/** A certificate and its key, in PEM. */
export type KeyPair = { readonly certificate: string; readonly key: string; readonly name: string }

type Wish = {
  readonly name?: string
  /** Who signs it; else it signs itself. */
  readonly issuer?: KeyPair
  /** Days from now. */
  readonly from?: number
  readonly until?: number
}

/**
 * Makes a certificate (RFC 5280) for 127.0.0.1 and localhost, that may sign others, with an ECDSA key. Node reads
 * certificates, and makes none.
 */
export function makeCertificate(wish: Wish = {}): KeyPair {
  const { name = 'melange.example', issuer, from = -1, until = 30 } = wish
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const ecdsaWithSha256 = sequence(objectId(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02))
  const alternatives = sequence(
    der(0x82, Buffer.from('localhost')),
    der(0x87, Buffer.from([127, 0, 0, 1])),
  )
  const extensions = sequence(
    sequence(objectId(0x55, 0x1d, 0x13), der(0x04, sequence(der(0x01, Buffer.from([0xff]))))),
    sequence(objectId(0x55, 0x1d, 0x11), der(0x04, alternatives)),
  )
  const signed = sequence(
    der(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ecdsaWithSha256,
    commonName(issuer?.name ?? name),
    sequence(time(from), time(until)),
    commonName(name),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, extensions),
  )
  const signer = issuer ? createPrivateKey(issuer.key) : privateKey
  const signature = Buffer.concat([Buffer.from([0]), sign('sha256', signed, signer)])
  const whole = sequence(signed, ecdsaWithSha256, der(0x03, signature))
  const lines = whole.toString('base64').match(/.{1,64}/g) ?? []
  return {
    name,
    certificate: ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----\n'].join(
      '\n',
    ),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}

// DER: a tag, a length and the content (X.690, section 8.1).
function der(tag: number, content: Buffer): Buffer {
  const { length } = content
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}
const sequence = (...parts: Buffer[]) => der(0x30, Buffer.concat(parts))
const objectId = (...bytes: number[]) => der(0x06, Buffer.from(bytes))
const integer = (bytes: Buffer) => der(0x02, bytes)
const commonName = (name: string) =>
  sequence(der(0x31, sequence(objectId(0x55, 0x04, 0x03), der(0x0c, Buffer.from(name)))))
const time = (days: number) => {
  const at = new Date(Date.now() + days * 86_400_000)
  return der(0x18, Buffer.from(at.toISOString().replaceAll(/[-:T]|\.\d+/g, '')))
}

/** Writes both to files in a folder. */
export function writeCertificate(folder: string, { certificate, key }: KeyPair) {
  const files = { certificate: join(folder, 'server.pem'), key: join(folder, 'server.key') }
  writeFileSync(files.certificate, certificate)
  writeFileSync(files.key, key)
  return files
}

/** A folder that goes when the test has ended. */
export function testFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'melange-tls-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
