import { afterAll, beforeAll, expect } from 'vitest'
import { problemsIn } from './capture.ts'
import { Cloud } from './cloud.ts'
import { type Lab, openLab } from './netlab.ts'
import { cleanUp } from './server-process.ts'

/** A lab and an API for the tests of a file. */
export type Field = { readonly lab: Lab; readonly cloud: Cloud }

/**
 * Opens a lab and an API before the tests of a file, and closes them behind these. Then all packets that
 * were captured have to be well-formed, and the data of the API sound.
 */
export function useField(prepare: (field: Field) => Promise<void>): void {
  let lab: Lab | undefined
  let cloud: Cloud | undefined
  beforeAll(async () => {
    lab = openLab()
    cloud = await Cloud.open()
    await prepare({ lab, cloud })
  })
  afterAll(async () => {
    try {
      const captures = (await lab?.captured()) ?? []
      const problems = await Promise.all(captures.map(({ file }) => problemsIn(file)))
      expect(problems.flat()).toEqual([])
      await cloud?.close()
    } finally {
      await cleanUp()
      await lab?.close()
    }
  })
}
