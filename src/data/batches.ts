/** The input pipeline as the training loop sees it: batches made ahead by worker threads, in shared memory. */
import type {Worker} from 'node:worker_threads';

import {boxNumbers, type TargetBoxes} from '../detection/boxes.ts';
import {ExitCode, invalidInput, SdqError} from '../errors.ts';
import {item, last, present} from '../lookup.ts';
import {startThread} from '../start-thread.ts';
import type {BatchReply, BatchRequest, BatchSlot, WorkerSettings} from './batch-worker.ts';
import {isEncoded, sampleNoun, type Dataset} from './dataset.ts';
import type {Normalization} from './normalization.ts';
import {packPaths, type PathList} from './path-list.ts';
import type {RenderPlan} from './render.ts';
import {partRange, type Part} from './splits.ts';

/** `images`, `labels`, `values` and `boxes` are views of shared memory, valid until the next call of `batch` on the same source. */
export interface Batch {
  /** [size, height, width, channels], normalised, augmented; [size, channels] of rows. */
  readonly images: Float32Array;
  /** [size] */
  readonly labels: Int32Array;
  /** [size, values], where the data set has any. */
  readonly values?: Float32Array;
  /** Where the data set has boxes. */
  readonly boxes?: TargetBoxes;
  readonly size: number;
  /** How long the caller waited for it, in milliseconds. */
  readonly waitMs: number;
}

export interface BatchSource {
  readonly batchesPerEpoch: number;
  /** Images that one epoch yields. */
  readonly samples: number;
  /**
   * A pure function of (seed, epoch, index); the two batches that follow are made meanwhile. One call at a time.
   * @throws SdqError (exit 3) for an image that cannot be decoded, (exit 6) when a worker thread ended
   */
  batch(epoch: number, index: number): Promise<Batch>;
  /** Ends the worker threads. Idempotent. */
  close(): Promise<void>;
}

export interface BatchOptions {
  readonly part: Part;
  /** Images at the end of the train split that are kept for validation; below 1 their share. */
  readonly validation: number;
  readonly batchSize: number;
  /** Training shuffles and drops the last partial batch; evaluation goes in order and keeps it; a sample shuffles and keeps it. */
  readonly mode: 'training' | 'evaluation' | 'sample';
  /** Whether training crops and mirrors as the data set says. */
  readonly augment: boolean;
  readonly normalization: Normalization;
  readonly seed: number;
  /** Threads that decode image files, each a share of every batch; the bits are the same for any number. Default: 1. */
  readonly workers?: number;
}

/** Batches made ahead of the one that the caller holds. */
const prefetch = 2;

interface Slot extends BatchSlot {
  /** What the slot holds or will hold; undefined: free. */
  wanted: {readonly epoch: number; readonly index: number; readonly done: Promise<number>} | undefined;
}

/**
 * Batches of an epoch of training, as `openBatches` would have them.
 * @throws SdqError (exit 3) when there would be none, or no image would be left for the part
 */
export function epochBatches(dataset: Dataset, data: Pick<BatchOptions, 'validation' | 'batchSize'>): number {
  return batchesOf(dataset, {part: 'train', mode: 'training', ...data});
}

function batchesOf(
  dataset: Dataset,
  {part, mode, validation, batchSize}: Pick<BatchOptions, 'part' | 'mode' | 'validation' | 'batchSize'>,
): number {
  const {start, end} = partRange(dataset, part, validation);
  const count = end - start;
  const batches = mode === 'training' ? Math.floor(count / batchSize) : Math.ceil(count / batchSize);
  if (batches > 0) return batches;
  const all = dataset.train.labels.length;
  const held = part === 'train' && count < all ? ` (${all}, of which ${all - count} are held out for validation)` : '';
  throw invalidInput(
    'batch-larger-than-data',
    `data.batchSize is ${batchSize}, but ${dataset.name} has only ${count} ${part} ${sampleNoun(dataset)}${held}.`,
    count === 0 ? [] : [`--set data.batchSize=${Math.min(32, count)}`],
  );
}

/**
 * The workers do not keep the process alive except while a batch is awaited.
 * @throws SdqError (exit 3) when an epoch would have no batch, or the data set's arrays do not fit its shape
 */
export function openBatches(
  dataset: Dataset,
  options: BatchOptions,
  startWorker: (settings: WorkerSettings) => Worker = startBatchWorker,
): BatchSource {
  const {batchSize, mode} = options;
  const range = partRange(dataset, options.part, options.validation);
  const count = range.end - range.start;
  const batchesPerEpoch = batchesOf(dataset, options);
  const plan: RenderPlan = {
    split: sharedSplit(checkedSplit(dataset, range.split)),
    start: range.start,
    end: range.end,
    height: dataset.height,
    width: dataset.width,
    channels: dataset.channels,
    batchSize,
    shuffle: mode !== 'evaluation',
    augmentation: mode === 'training' && options.augment ? dataset.augmentation : undefined,
    normalization: options.normalization,
    seed: options.seed,
    mostBoxes: mostBoxes(dataset, options),
  };

  const imageSize = dataset.height * dataset.width * dataset.channels;
  const largest = Math.min(batchSize, count);
  const numbers = dataset.values?.length ?? 0;
  const boxSize = dataset.boxes === true ? boxNumbers * plan.mostBoxes : 0;
  const slots: Slot[] = Array.from({length: prefetch + 1}, () => ({
    images: new Float32Array(sharedBuffer(4 * largest * imageSize, largest)),
    labels: new Int32Array(sharedBuffer(4 * largest, largest)),
    ...(numbers === 0 ? {} : {values: new Float32Array(sharedBuffer(4 * largest * numbers, largest))}),
    ...(boxSize === 0 ? {} : {boxes: new Float32Array(sharedBuffer(4 * largest * boxSize, largest))}),
    wanted: undefined,
  }));
  const shares = isEncoded(plan.split) ? (options.workers ?? 1) : 1;
  const pool = startPool(shares, startWorker, {plan, slots: slots.map(({wanted, ...arrays}) => arrays)});
  const request = (slot: Slot, epoch: number, index: number): void => {
    slot.wanted = {epoch, index, done: pool.request({epoch, index, slot: slots.indexOf(slot)})};
  };
  const find = (epoch: number, index: number): Slot | undefined =>
    slots.find(({wanted}) => wanted?.epoch === epoch && wanted.index === index);

  return {
    batchesPerEpoch,
    samples: mode === 'training' ? batchesPerEpoch * batchSize : count,

    async batch(epoch, index) {
      const start = performance.now();
      pool.check();
      if (!Number.isInteger(index) || index < 0 || index >= batchesPerEpoch) {
        throw new RangeError(`Batch ${index} of an epoch of ${batchesPerEpoch}`);
      }
      const keys = [{epoch, index}];
      for (let ahead = 0; ahead < prefetch; ahead++) keys.push(following(last(keys)));
      // The slots that hold none of the three batches are free: that of the batch before, and after a jump all of them.
      // Every worker answers in order, so a slot that it is still filling is filled again only afterwards.
      const wanted = keys.map((key) => find(key.epoch, key.index));
      const free = slots.filter((slot) => !wanted.includes(slot));
      for (const [i, key] of keys.entries()) {
        if (wanted[i] === undefined && find(key.epoch, key.index) === undefined)
          request(present(free.shift(), 'free slot'), key.epoch, key.index);
      }
      const slot = present(find(epoch, index), 'requested batch');
      pool.ref();
      try {
        const size = await present(slot.wanted, 'request').done;
        return {
          images: slot.images.subarray(0, size * imageSize),
          labels: slot.labels.subarray(0, size),
          ...(slot.values === undefined ? {} : {values: slot.values.subarray(0, size * numbers)}),
          ...(slot.boxes === undefined
            ? {}
            : {boxes: {most: plan.mostBoxes, values: slot.boxes.subarray(0, size * boxSize)}}),
          size,
          waitMs: performance.now() - start,
        };
      } finally {
        pool.unref();
      }
    },

    close: () => pool.close(),
  };

  /** Training continues with the next epoch; evaluation starts over. */
  function following({epoch, index}: {epoch: number; index: number}): {epoch: number; index: number} {
    if (index + 1 < batchesPerEpoch) return {epoch, index: index + 1};
    return {epoch: mode === 'training' ? epoch + 1 : epoch, index: 0};
  }
}

/** [ours] Of a mosaic no more boxes are kept, unless one image has more: what the loss computes grows with them. Darknet keeps 200. */
const mostMosaicBoxes = 200;

/** Boxes that an image of the part, or a mosaic of four, has at most; at least one. */
function mostBoxes(dataset: Dataset, {augment, mode, part}: Pick<BatchOptions, 'part' | 'mode' | 'augment'>): number {
  const {boxes} = dataset[part === 'test' ? 'test' : 'train'];
  if (boxes === undefined) return 0;
  const {offsets} = boxes;
  const most = offsets.reduce((sum, end, i) => (i === 0 ? sum : Math.max(sum, end - item(offsets, i - 1))), 1);
  const isMosaic = mode === 'training' && augment && (dataset.augmentation.detection?.mosaic ?? 0) > 0;
  return isMosaic ? Math.max(most, Math.min(4 * most, mostMosaicBoxes)) : most;
}

interface WorkerPool {
  /** @returns the number of images of the batch, when every worker has made its share */
  request(batch: Omit<BatchRequest, 'ticket'>): Promise<number>;
  /** @throws SdqError (exit 6) when a worker has ended */
  check(): void;
  /** Keeps the process alive, or not. */
  ref(): void;
  unref(): void;
  close(): Promise<void>;
}

function startPool(
  shares: number,
  startWorker: (settings: WorkerSettings) => Worker,
  settings: Omit<WorkerSettings, 'share'>,
): WorkerPool {
  interface Waiting {
    readonly replies: BatchReply[];
    readonly resolve: (size: number) => void;
    readonly reject: (error: Error) => void;
  }
  const waiting = new Map<number, Waiting>();
  let failure: SdqError | undefined;
  let tickets = 0;

  const fail = (error: SdqError): void => {
    failure ??= error;
    for (const {reject} of waiting.values()) reject(failure);
    waiting.clear();
  };
  const receive = (part: number, reply: BatchReply): void => {
    const promise = waiting.get(reply.ticket);
    if (promise === undefined) return;
    promise.replies[part] = reply;
    if (Object.keys(promise.replies).length < shares) return;
    waiting.delete(reply.ticket);
    // Of several errors the first in the order of the batch, whichever thread was faster.
    const error = promise.replies.find((each) => each.error !== undefined)?.error;
    if (error === undefined) promise.resolve(reply.size);
    else promise.reject(new SdqError(error.message, error));
  };
  const workers = Array.from({length: shares}, (_, part) => {
    const worker = startWorker({...settings, share: {part, of: shares}});
    worker.unref();
    worker.on('message', (reply: BatchReply) => receive(part, reply));
    worker.on('error', (error) => fail(workerEnded(error.message)));
    worker.on('exit', (code) => fail(workerEnded(`exit code ${code}`)));
    return worker;
  });
  return {
    request(batch) {
      const ticket = tickets++;
      const done = new Promise<number>((resolve, reject) => waiting.set(ticket, {replies: [], resolve, reject}));
      done.catch(() => undefined); // who awaits the batch sees the error; one made ahead may never be awaited
      for (const worker of workers) worker.postMessage({ticket, ...batch} satisfies BatchRequest);
      return done;
    },
    check() {
      if (failure !== undefined) throw failure;
    },
    ref: () => workers.forEach((worker) => worker.ref()),
    unref: () => workers.forEach((worker) => worker.unref()),
    async close() {
      fail(workerEnded('it was closed'));
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}

/** @throws SdqError (exit 6) when there is no such memory */
function sharedBuffer(bytes: number, images: number): SharedArrayBuffer {
  try {
    return new SharedArrayBuffer(bytes);
  } catch (error) {
    throw new SdqError(`There is no memory for batches of ${images} images: ${(error as Error).message}.`, {
      code: 'out-of-memory',
      exit: ExitCode.notAvailable,
      suggestions: ['Make data.batchSize smaller.'],
      cause: error,
    });
  }
}

function workerEnded(reason: string): SdqError {
  return new SdqError(`The thread that prepares the data ended: ${reason}.`, {
    code: 'data-worker-ended',
    exit: ExitCode.notAvailable,
  });
}

const packed = new WeakMap<readonly string[], PathList>();

/** With its file names in memory that the workers share. */
function sharedSplit(split: Dataset['train']): Dataset['train'] {
  if (split.kind !== 'files' || 'bytes' in split.paths) return split;
  const paths = packed.get(split.paths) ?? packPaths(split.paths);
  packed.set(split.paths, paths);
  return {...split, paths};
}

/** A plugin's data set may not be what it says. */
function checkedSplit(dataset: Dataset, name: 'train' | 'test'): Dataset['train'] {
  const split = dataset[name];
  const {found, each, unit} = sizesOf(split, dataset);
  const expected = split.labels.length * each;
  const numbers = split.labels.length * (dataset.values?.length ?? 0);
  if (numbers !== (split.targets?.length ?? 0)) {
    throw invalidInput(
      'dataset-inconsistent',
      `The data set ${dataset.name} has ${split.labels.length} ${name} ${sampleNoun(dataset)} with ${dataset.values?.length ?? 0} numbers each; it has ${split.targets?.length ?? 0} numbers in all.`,
    );
  }
  if (found === expected) return split;
  throw invalidInput(
    'dataset-inconsistent',
    `The data set ${dataset.name} has ${split.labels.length} ${name} labels, which needs ` +
      `${expected} ${unit}; it has ${found}.`,
  );
}

/** What a split holds, and how much of it one label needs. */
function sizesOf(
  split: Dataset['train'],
  {height, width, channels}: Dataset,
): {readonly found: number; readonly each: number; readonly unit: string} {
  if (split.kind === 'files') return {found: split.paths.length, each: 1, unit: 'files'};
  // A split cut short has labels for its first images only.
  if (split.kind === 'shards') {
    const images = split.groups.ends.at(-1) ?? 0;
    return {found: Math.min(images, split.labels.length), each: 1, unit: 'images in shards'};
  }
  if (split.kind === 'rows') return {found: split.rows.length, each: channels, unit: `numbers in rows of ${channels}`};
  const unit = `bytes of ${height} × ${width} × ${channels} images`;
  return {found: split.images.length, each: height * width * channels, unit};
}

function startBatchWorker(workerData: WorkerSettings): Worker {
  return startThread(new URL('batch-worker', import.meta.url), {workerData});
}
