/**
 * Whether this is the slow suite (`npm run test:slow`), which runs every case of the test files that import this one. The daily suite
 * runs the same assertions on fewer of them.
 */
export const thorough = (globalThis as {thorough?: boolean}).thorough === true;
