/** How a token was answered for: `hit` and `stale` from what is remembered, `miss` by Keystone. */
export type Lookup = 'hit' | 'miss' | 'negative_hit' | 'stale' | 'malformed' | 'overloaded'

/** Is told what happens between Melange and Keystone; it neither throws nor waits. */
export type KeystoneObserver = {
  /** A token was looked up; with a service token that makes two. */
  onLookup(lookup: Lookup): void
  /** Keystone was asked about a token. */
  onValidation(outcome: 'valid' | 'invalid' | 'unavailable', seconds: number): void
  /** A token of Melange's own was asked for. */
  onLogin(outcome: 'success' | 'failure', seconds: number): void
  /** Keystone gives no answers any more; told once. */
  onAway(reason: string): void
  /** Keystone answers again; told once. */
  onBack(): void
  /** Is given, once, what tells how many validations are under way and how many wait. */
  watchValidations(counts: () => { readonly under_way: number; readonly waiting: number }): void
}
