import { HttpFailure } from '../http-client.ts'

/** Keystone gave no answer about a token, so nothing is known of it. */
export class KeystoneFailure extends HttpFailure {
  override readonly name: string = 'KeystoneFailure'
}
