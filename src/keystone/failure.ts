/** Keystone gave no answer about a token, so nothing is known of it. */
export class KeystoneFailure extends Error {
  override readonly name = 'KeystoneFailure'
  /** Whether Keystone as a whole is away, or of no use to us: then others need not try at once. */
  readonly isAway: boolean

  constructor(message: string, { isAway, cause }: { isAway: boolean; cause?: unknown }) {
    super(message, cause === undefined ? undefined : { cause })
    this.isAway = isAway
  }
}
