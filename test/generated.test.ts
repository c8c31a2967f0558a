import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { generateDocs } from '../scripts/generate-docs.ts'

const generated = await generateDocs()

test.each(Object.keys(generated))('%s is not stale: `npm run generate` changes nothing', path => {
  expect(readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')).toBe(generated[path])
})
