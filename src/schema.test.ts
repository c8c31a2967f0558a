import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isId, isText, isTime, readMarker as readShapes, toPage, writeMarker } from './schema.ts'

const readMarker = (marker: string, sort: string, length: number) =>
  readShapes(marker, sort, Array(length).fill(isText))
const invalid = expect.objectContaining({ code: 'marker_invalid' })

describe('a marker', () => {
  test('gives back the sort values, and fits into a URL as it is', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'grapheme' })), values => {
        const marker = writeMarker('name', values)
        expect(readMarker(marker, 'name', values.length)).toEqual(values)
        expect(encodeURIComponent(marker)).toBe(marker)
      }),
    )
  })

  test('that this list did not give is refused, whatever it is', () => {
    const made = fc
      .oneof(
        fc.json(),
        fc.string(),
        fc.array(fc.oneof(fc.constant('id'), fc.string(), fc.integer())),
      )
      .map(value => (typeof value === 'string' ? Buffer.from(value) : JSON.stringify(value)))
      .map(text => Buffer.from(text).toString('base64url'))
    fc.assert(
      fc.property(fc.oneof(fc.string(), made), fc.integer({ min: 1, max: 3 }), (marker, length) => {
        try {
          expect(readMarker(marker, 'id', length)).toEqual(Array(length).fill(expect.any(String)))
        } catch (error) {
          expect(error).toEqual(invalid)
        }
      }),
      { numRuns: 1000 },
    )
    for (const values of [[], ['a'], ['a', 'b', 'c']]) {
      expect(() => readMarker(writeMarker('id', values), 'id', 2)).toThrow(invalid)
    }
    expect(() => readMarker(writeMarker('name', ['a', 'b']), 'id', 2)).toThrow(invalid)
  })
})

test('pages are the list, cut; each but the last links to the next with the same filters', () => {
  const url = '/v2/things?tag=a%20b&tag=c&limit=2&marker=old'
  fc.assert(
    fc.property(fc.nat(30), fc.integer({ min: 1, max: 10 }), (count, limit) => {
      const list = Array.from({ length: count }, (_, index) => String(index))
      const read: string[] = []
      for (let start = 0, pages = 1; ; pages += 1) {
        const markerOf = (item: string) => writeMarker('id', [item])
        const found = list.slice(start, start + limit + 1)
        const page = toPage({ key: 'things', url, limit, markerOf }, found)
        read.push(...page.things)
        expect(page.links).toHaveLength(page.next_marker === null ? 0 : 1)
        if (page.next_marker === null) {
          expect(pages).toBe(Math.max(1, Math.ceil(count / limit)))
          break
        }
        const link = new URL(page.links[0]?.href ?? '', 'http://melange')
        expect(link.pathname).toBe('/v2/things')
        expect(link.searchParams.getAll('tag')).toEqual(['a b', 'c'])
        expect(link.searchParams.getAll('marker')).toEqual([page.next_marker])
        start = Number(readMarker(page.next_marker, 'id', 1)[0]) + 1
      }
      expect(read).toEqual(list)
    }),
  )
})

test.each([
  ['id', isId, '01a206c2-d4ab-7744-9ab7-fecbda2fb13a', '01a206c2'],
  ['created_at', isTime, '2026-11-23T04:56:01.497000Z', '2026-13-23T04:56:01.497000Z'],
])('a marker with a %s that is none is refused', (sort, shape, sound, made_up) => {
  expect(readShapes(writeMarker(sort, [sound]), sort, [shape])).toEqual([sound])
  expect(() => readShapes(writeMarker(sort, [made_up]), sort, [shape])).toThrow(invalid)
})
