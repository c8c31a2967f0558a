import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext, type SecureContextOptions, type Server } from 'node:tls'
import { ConfigError } from '../config.ts'

export type TlsFiles = { readonly certificate: string; readonly key: string }

export type TlsOptions = TlsFiles & {
  /** Told once of each pair of files that is refused. */
  readonly onError: (error: ConfigError) => void
  /** Told of each certificate that takes effect after the first. */
  readonly onChange: (certificate: Certificate) => void
}

/** A certificate that can be served. */
export type Certificate = {
  readonly subject: string
  /** SHA-256, as `openssl x509 -fingerprint -sha256` writes it. */
  readonly fingerprint: string
  readonly not_before: Date
  readonly not_after: Date
}

/** The certificate in use, which changes when its files do. */
export type Tls = {
  readonly certificate: () => Certificate
  readonly context: () => SecureContextOptions
  /** Gives a server each certificate to come; connections that are there stay as they are. */
  follow(server: Pick<Server, 'setSecureContext'>): void
  /** Looks into the files now. */
  reload(): void
  close(): void
}

/** Between two looks into the files, in milliseconds. */
export const lookMilliseconds = 1000

type Loaded = {
  readonly certificate: Certificate
  readonly context: SecureContextOptions
  readonly texts: Texts
}
type Texts = { readonly certificate: string; readonly key: string }

/**
 * Loads certificate and key, and again within a second after one of the files has changed, wherever they
 * are kept: two small files are read in less time than it takes to make sure that their times can be
 * trusted. Files that do not fit change nothing; they are told of when they are still so a second later,
 * because one is always written before the other.
 *
 * @throws {ConfigError} if they are not usable now
 */
export function openTls({ onError, onChange, ...files }: TlsOptions): Tls {
  let loaded = loadCertificate(files)
  const servers: Pick<Server, 'setSecureContext'>[] = []
  let found: string | null = null
  let told: string | null = null

  function look({ isAsked }: { readonly isAsked: boolean }): void {
    try {
      const texts = readTexts(files)
      const isNew = texts.certificate !== loaded.texts.certificate || texts.key !== loaded.texts.key
      if (isNew) {
        const next = build(texts, files)
        for (const server of servers) server.setSecureContext(next.context)
        loaded = next
        onChange(next.certificate)
      }
      found = told = null
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      const { message } = error
      if ((isAsked || message === found) && (isAsked || message !== told)) {
        onError(error)
        told = message
      }
      found = message
    }
  }

  const timer = setInterval(look, lookMilliseconds, { isAsked: false }).unref()
  return {
    certificate: () => loaded.certificate,
    context: () => loaded.context,
    follow: server => void servers.push(server),
    reload: () => look({ isAsked: true }),
    close: () => clearInterval(timer),
  }
}

/** @throws {ConfigError} if certificate and key cannot be served */
export function loadCertificate(files: TlsFiles): Loaded {
  return build(readTexts(files), files)
}

const readTexts = ({ certificate, key }: TlsFiles): Texts => ({
  certificate: readText('tls.certificate', certificate),
  key: readText('tls.key', key),
})

function readText(setting: string, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    const reason = code === 'ENOENT' ? 'there is no such file' : message
    throw new ConfigError(`${setting}: ${file}: ${reason}`, { cause })
  }
}

const pem = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

function build(texts: Texts, files: TlsFiles): Loaded {
  const refuse = (setting: keyof TlsFiles, why: string, cause?: unknown) =>
    new ConfigError(`tls.${setting}: ${files[setting]}: ${why}`, { cause })
  const chain = (texts.certificate.match(pem) ?? []).map((text, index) => {
    try {
      return new X509Certificate(text)
    } catch (cause) {
      throw refuse('certificate', `certificate ${index + 1} is not readable`, cause)
    }
  })
  const [first] = chain
  if (!first) throw refuse('certificate', 'there is no certificate in PEM')
  const apart = chain.findIndex((one, index) => {
    const next = chain[index + 1]
    return next !== undefined && !one.checkIssued(next)
  })
  if (apart !== -1) {
    const [one, next] = [apart + 1, apart + 2]
    throw refuse('certificate', `certificate ${one} is not issued by certificate ${next}`)
  }
  const key = readKey(texts.key, refuse)
  if (!first.checkPrivateKey(key)) {
    throw refuse('key', `is not the key of the certificate in ${files.certificate}`)
  }
  // Older versions of TLS are not safe (RFC 8996).
  const context = { cert: texts.certificate, key: texts.key, minVersion: 'TLSv1.2' } as const
  try {
    createSecureContext(context)
  } catch (cause) {
    throw refuse('certificate', (cause as Error).message, cause)
  }
  const certificate = {
    subject: first.subject,
    fingerprint: first.fingerprint256,
    not_before: new Date(first.validFrom),
    not_after: new Date(first.validTo),
  }
  return { certificate, context, texts }
}

type Refuse = (setting: keyof TlsFiles, why: string, cause?: unknown) => ConfigError

function readKey(text: string, refuse: Refuse) {
  try {
    return createPrivateKey(text)
  } catch (cause) {
    const isLocked = /\bENCRYPTED\b/.test(text)
    throw refuse('key', isLocked ? 'has a passphrase' : 'there is no private key in PEM', cause)
  }
}
