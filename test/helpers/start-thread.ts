/** Takes the place of `src/start-thread.ts` in tests: threads start from the copy of the sources that Jest's setup has compiled. */
import {Worker, type WorkerOptions} from 'node:worker_threads';

export function startThread(module: URL, options: WorkerOptions): Worker {
  const url = new URL(`${module.href.replace('/src/', '/test-build/')}.js`);
  // Jest's `process` is a copy of Node's, which is where a thread would find its environment.
  return new Worker(url, {...options, env: process.env});
}
