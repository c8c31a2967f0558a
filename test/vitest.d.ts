import 'vitest'

declare module 'vitest' {
  interface ProvidedContext {
    postgresUrl: string
    databaseKind: 'pglite' | 'postgres'
    /** A migrated database to copy: the file of a PGlite, or the URL of one on the server. */
    template: string
  }
}
