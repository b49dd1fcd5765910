/** A thread of the input pipeline: makes its share of the batches that it is asked for, one after the other, in shared memory. */
import {parentPort, workerData} from 'node:worker_threads';

import {SdqError, type ExitCode} from '../errors.ts';
import {item} from '../lookup.ts';
import {isEncoded} from './dataset.ts';
import {limitImageThreads} from './decode-image.ts';
import {createRenderer, type RenderPlan, type Share} from './render.ts';

export interface BatchSlot {
  readonly images: Float32Array<SharedArrayBuffer>;
  readonly labels: Int32Array<SharedArrayBuffer>;
  readonly values?: Float32Array<SharedArrayBuffer>;
  readonly boxes?: Float32Array<SharedArrayBuffer>;
}

export interface WorkerSettings {
  readonly plan: RenderPlan;
  readonly slots: readonly BatchSlot[];
  /** What this thread makes of every batch. */
  readonly share: Share;
}

export interface BatchRequest {
  readonly ticket: number;
  readonly epoch: number;
  readonly index: number;
  readonly slot: number;
}

export interface BatchReply {
  readonly ticket: number;
  readonly size: number;
  readonly error?: {
    readonly message: string;
    readonly code: string;
    readonly exit: ExitCode;
    readonly suggestions: readonly string[];
  };
}

async function serve(port: NonNullable<typeof parentPort>, {plan, share, slots}: WorkerSettings): Promise<void> {
  if (isEncoded(plan.split)) await limitImageThreads();
  const render = createRenderer(plan);
  const answer = async ({ticket, epoch, index, slot}: BatchRequest): Promise<void> => {
    try {
      port.postMessage({ticket, size: await render(epoch, index, item(slots, slot), share)} satisfies BatchReply);
    } catch (error) {
      if (!(error instanceof SdqError)) throw error;
      const {message, code, suggestions, oclif} = error;
      const reply: BatchReply = {ticket, size: 0, error: {message, code, exit: oclif.exit, suggestions}};
      port.postMessage(reply);
    }
  };
  let last = Promise.resolve();
  // A rejection is a bug; it ends the worker, whose owner then tells.
  port.on('message', (request: BatchRequest) => {
    last = last.then(() => answer(request));
  });
}

if (parentPort !== null) await serve(parentPort, workerData as WorkerSettings);
