/** How many threads decode images. */
import os from 'node:os';

import {invalidInput} from '../errors.ts';

/** Of Node's pool, on which all decoding runs. */
function poolThreads({UV_THREADPOOL_SIZE: size}: NodeJS.ProcessEnv): number {
  const threads = Number(size);
  return Number.isInteger(threads) && threads > 0 ? threads : 4;
}

/**
 * @param asked `auto`: what the engine leaves of the processors, at least one
 * @param engineThreads that the engine keeps busy
 * @throws SdqError (exit 3) for more than Node can run at the same time
 */
export function decodingThreads(
  asked: number | 'auto',
  engineThreads: number,
  environment: NodeJS.ProcessEnv = process.env,
): number {
  const most = poolThreads(environment);
  if (asked === 'auto') return Math.max(1, Math.min(most, os.availableParallelism() - engineThreads));
  if (asked <= most) return asked;
  throw invalidInput(
    'too-many-data-workers',
    `data.workers is ${asked}, but Node decodes at most ${most} images at the same time.`,
    [`Set the variable of Node for it: UV_THREADPOOL_SIZE=${asked}`, `--set data.workers=${most}`],
  );
}
