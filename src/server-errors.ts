/** What a server refuses before it looks at what is asked: a part of the catalogue in errors.ts. */
export const serverErrors = {
  request_timeout: {
    status: 408,
    title: 'The request did not arrive in time',
    advice: 'Send it again, faster. Nothing was changed.',
  },
  uri_too_long: {
    status: 414,
    title: 'The path and query are too long',
    advice: 'Send fewer or shorter parameters.',
  },
  too_many_requests: {
    status: 429,
    title: 'Too many requests',
    advice: 'Try again after the time in `Retry-After`. Nothing was changed.',
  },
  headers_too_large: {
    status: 431,
    title: 'The headers are too large, or too many',
    advice: 'Send fewer or shorter headers; a token may be too long.',
  },
} as const
