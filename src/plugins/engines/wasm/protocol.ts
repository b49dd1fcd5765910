/** What the main thread and the workers agree on; addresses are byte addresses in the shared memory. */
import {taskFloats, taskInts} from './assembly/shared.ts';

/** A kernel as the module exports it: does share `thread` of `threads` of the work described at `task`. */
export type Kernel = (task: number, thread: number, threads: number) => void;

/** A parameter block: integers and addresses first, then floats. */
export const taskBlock = {ints: taskInts, floats: taskFloats, bytes: 4 * (taskInts + taskFloats)} as const;

/** Words of a thread's mailbox; it fills a cache line, so that threads do not slow each other down. */
export const mailbox = {bytes: 64, sequence: 0, done: 1, kernel: 2, threads: 3, failed: 4} as const;

/**
 * How often a thread looks at a mailbox before it sleeps: about 0.2 ms, longer than most pauses between two kernels. To
 * wake a sleeping thread costs more than a small kernel takes.
 */
export const spins = 200_000;

export interface WorkerData {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** Names of the kernels; a mailbox holds an index into this list. */
  readonly names: readonly string[];
  readonly task: number;
  /** Address of mailbox 0; mailbox 0 itself, the main thread's, is not used. */
  readonly control: number;
  /** Where a worker leaves the text of its error. */
  readonly failure: {readonly address: number; readonly bytes: number};
  readonly thread: number;
}
