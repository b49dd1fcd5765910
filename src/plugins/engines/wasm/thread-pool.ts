/**
 * The threads that run a kernel together. The main thread writes the parameter block and rings each worker's mailbox,
 * takes share 0 itself, then waits: kernels stay synchronous (Node allows `Atomics.wait` on the main thread).
 */
import {once} from 'node:events';
import {existsSync} from 'node:fs';
import type {Worker} from 'node:worker_threads';

import {ExitCode, SdqError} from '../../../errors.ts';
import {item} from '../../../lookup.ts';
import {startThread} from '../../../start-thread.ts';
import {type Kernel, mailbox, spins, taskBlock, type WorkerData} from './protocol.ts';

/** A worker that needs this many times the main thread's equal share, plus ten seconds, is checked: is its thread alive? */
const patience = 20;
/** Where the system cannot tell, the worker counts as lost after this much longer. */
const uncheckedMs = 600_000;
const sliceMs = 100;
const failureBytes = 256;

function startWorker(workerData: WorkerData): Worker {
  return startThread(new URL('worker', import.meta.url), {workerData});
}

function workerLost(thread: number, why: string): SdqError {
  return new SdqError(`Thread ${thread} of the wasm engine is lost: ${why}.`, {
    code: 'engine-worker-lost',
    exit: ExitCode.notAvailable,
    suggestions: ['Resume the run from its last checkpoint.', 'Use fewer threads: --set engine.threads=1.'],
  });
}

export interface ThreadPoolOptions {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly threads: number;
  /** Reserves shared memory for the pool's own use. */
  readonly allocate: (bytes: number) => number;
  /** How long a worker may take, beside its share, before it is checked; tests shorten it. */
  readonly graceMs?: number;
}

export class ThreadPool {
  readonly threads: number;
  readonly #options: ThreadPoolOptions;
  readonly #kernels = new Map<string, {readonly index: number; readonly run: Kernel}>();
  readonly #names: readonly string[];
  readonly #task: number;
  readonly #ints: Int32Array;
  readonly #floats: Float32Array;
  readonly #mailboxes: readonly Int32Array[];
  readonly #failureAddress: number;
  /** Threads 1, 2, …; thread 0 is the main one. */
  readonly workers: Worker[] = [];
  /** By thread: a file that exists as long as the thread does; null where the system has none. */
  readonly #threadFiles: (string | null)[] = [];
  #stopped: SdqError | null = null;

  private constructor(options: ThreadPoolOptions) {
    const {memory, threads, allocate} = options;
    this.#options = options;
    this.threads = threads;
    const {exports} = new WebAssembly.Instance(options.module, {env: {memory}});
    this.#names = Object.keys(exports);
    this.#names.forEach((name, index) => this.#kernels.set(name, {index, run: exports[name] as Kernel}));
    this.#task = allocate(taskBlock.bytes);
    const control = allocate(threads * mailbox.bytes);
    this.#failureAddress = allocate(failureBytes);
    this.#ints = new Int32Array(memory.buffer, this.#task, taskBlock.ints);
    this.#floats = new Float32Array(memory.buffer, this.#task + 4 * taskBlock.ints, taskBlock.floats);
    this.#mailboxes = Array.from({length: threads}, (_, thread) =>
      new Int32Array(memory.buffer, control + thread * mailbox.bytes, mailbox.bytes / 4).fill(0),
    );
  }

  /** Starts `threads − 1` workers and waits until each is ready. They do not keep the process alive. */
  static async start(options: ThreadPoolOptions): Promise<ThreadPool> {
    const pool = new ThreadPool(options);
    const ready = Array.from({length: options.threads - 1}, async (_, i) => {
      const worker = startWorker({
        module: options.module,
        memory: options.memory,
        names: pool.#names,
        task: pool.#task,
        control: item(pool.#mailboxes, 0).byteOffset,
        failure: {address: pool.#failureAddress, bytes: failureBytes},
        thread: i + 1,
      });
      pool.workers.push(worker);
      const [threadFile] = (await once(worker, 'message')) as [string | null];
      pool.#threadFiles[i + 1] = threadFile;
      worker.on('error', (error) => (pool.#stopped ??= workerLost(i + 1, String(error))));
      worker.on('exit', () => (pool.#stopped ??= workerLost(i + 1, 'it ended before the run did')));
      worker.unref();
    });
    await Promise.all(ready);
    return pool;
  }

  /**
   * Runs kernel `name` on `threads` threads and returns when all shares are done.
   * @throws SdqError (exit 6) when a worker has died, fails or does not answer
   */
  run(name: string, ints: readonly number[], floats: readonly number[], threads: number): void {
    const kernel = this.#kernels.get(name);
    if (kernel === undefined) throw new Error(`the engine has no kernel "${name}"`);
    if (threads > 1 && this.#stopped !== null) throw this.#stopped;
    for (let i = 0; i < ints.length; i++) this.#ints[i] = item(ints, i);
    for (let i = 0; i < floats.length; i++) this.#floats[i] = item(floats, i);
    if (threads === 1) {
      kernel.run(this.#task, 0, 1);
      return;
    }
    for (let thread = 1; thread < threads; thread++) this.#ring(thread, kernel.index, threads);
    const start = performance.now();
    try {
      kernel.run(this.#task, 0, threads);
    } finally {
      const limitMs = (this.#options.graceMs ?? 10_000) + patience * (performance.now() - start);
      for (let thread = 1; thread < threads; thread++) this.#wait(thread, name, limitMs);
    }
  }

  /** Stops the workers; the pool cannot be used afterwards. */
  async dispose(): Promise<void> {
    this.#stopped ??= new SdqError('The engine has been stopped.', {
      code: 'engine-stopped',
      exit: ExitCode.notAvailable,
    });
    for (let thread = 1; thread < this.threads; thread++) this.#ring(thread, -1, 0);
    await Promise.all(this.workers.map((worker) => worker.terminate()));
  }

  #ring(thread: number, kernel: number, threads: number): void {
    const words = item(this.#mailboxes, thread);
    words[mailbox.kernel] = kernel;
    words[mailbox.threads] = threads;
    Atomics.add(words, mailbox.sequence, 1);
    Atomics.notify(words, mailbox.sequence);
  }

  /** Whether the thread of a worker that is late has ended. @param late ms */
  #isLost(thread: number, late: number): boolean {
    const file = this.#threadFiles[thread] ?? null;
    return file === null ? late > uncheckedMs : !existsSync(file);
  }

  /**
   * Counts slices of waiting, not the clock: a machine that was asleep is not a dead worker. Neither is a thread that exists but gets
   * no processor time: it is waited for.
   */
  #wait(thread: number, name: string, limitMs: number): void {
    const words = item(this.#mailboxes, thread);
    const sequence = item(words, mailbox.sequence);
    for (let i = 0, waited = 0; ; i++) {
      const done = Atomics.load(words, mailbox.done);
      if (done === sequence) break;
      if (i <= spins) continue;
      if (waited > limitMs && this.#isLost(thread, waited - limitMs)) {
        throw (this.#stopped = workerLost(
          thread,
          `no answer for ${(limitMs / 1000).toFixed(1)} s in kernel "${name}"`,
        ));
      }
      if (Atomics.wait(words, mailbox.done, done, sliceMs) === 'timed-out') waited += sliceMs;
    }
    const length = item(words, mailbox.failed);
    if (length > 0) {
      const text = new Uint8Array(this.#options.memory.buffer, this.#failureAddress, length).slice();
      throw (this.#stopped = workerLost(thread, new TextDecoder().decode(text)));
    }
  }
}
