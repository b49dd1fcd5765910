/** Starts worker threads, from `dist/` and from the sources. */
import path from 'node:path';
import {fileURLToPath} from 'node:url';
import {Worker, type WorkerOptions} from 'node:worker_threads';

const extension = path.extname(fileURLToPath(import.meta.url));

/**
 * @param module the thread's module, without its extension: `.ts` among the sources, `.js` when built
 */
export function startThread(module: URL, options: WorkerOptions): Worker {
  const url = new URL(`${module.href}${extension}`);
  if (extension === '.js') return new Worker(url, options);
  // From the sources (development) the thread needs the TypeScript loader first.
  const load = `import('tsx/esm/api').then(({register}) => { register(); return import(${JSON.stringify(url)}); })`;
  return new Worker(load, {...options, eval: true, execArgv: []});
}
