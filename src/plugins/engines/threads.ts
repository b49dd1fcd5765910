/** How engines count the threads of a processor. */
import os from 'node:os';

import type {EngineOptions} from '../../plugin-api/registry.ts';

/** The threads asked for; `auto` are those that the process may use. */
export function threadCount({threads}: EngineOptions): number {
  return threads === 'auto' ? os.availableParallelism() : threads;
}

/** E.g. `2 threads`. */
export function threadsText(count: number): string {
  return `${count} ${count === 1 ? 'thread' : 'threads'}`;
}
