/**
 * `node:fs` as the modules that are imported after `interceptFs` see it: every synchronous call and fsync pass a function of the test, which
 * records it, fails it, or acts as another process just before it.
 */
import * as fs from 'node:fs';

import {jest} from '@jest/globals';

type Interceptor = (name: string, args: readonly unknown[], call: () => unknown) => unknown;

export interface InterceptedFs {
  readonly original: typeof fs;
  /** Sets the interceptor while `body` runs. */
  during<T>(interceptor: Interceptor, body: () => T): T;
}

/** Call it before `await import(…)` of what is tested. */
export function interceptFs(): InterceptedFs {
  let current: Interceptor | undefined;
  const wrapped = Object.fromEntries(
    Object.entries(fs).map(([name, value]) => [
      name,
      typeof value === 'function' && (name.endsWith('Sync') || name === 'fsync')
        ? (...args: unknown[]): unknown => {
            const call = (): unknown => (value as (...all: unknown[]) => unknown)(...args);
            return current === undefined ? call() : current(name, args, call);
          }
        : value,
    ]),
  );
  jest.unstable_mockModule('node:fs', () => ({...wrapped, default: wrapped}));
  return {
    original: fs,
    during(interceptor, body) {
      current = interceptor;
      try {
        return body();
      } finally {
        current = undefined;
      }
    },
  };
}
