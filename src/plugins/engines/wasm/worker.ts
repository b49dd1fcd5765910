/** One thread of the pool: sleeps until its mailbox changes, runs its share of the kernel named there, says so. */
import {readlinkSync} from 'node:fs';
import path from 'node:path';
import {parentPort, workerData} from 'node:worker_threads';

import {item, present} from '../../../lookup.ts';
import {type Kernel, mailbox, spins, type WorkerData} from './protocol.ts';

const {module, memory, names, task, control, failure, thread} = workerData as WorkerData;
const instance = new WebAssembly.Instance(module, {env: {memory}});
const kernels = names.map((name) => instance.exports[name] as Kernel);
const words = new Int32Array(memory.buffer, control + thread * mailbox.bytes, mailbox.bytes / 4);

/** A file that exists as long as this thread does (Linux), or null. */
function threadFile(): string | null {
  try {
    return path.resolve('/proc', readlinkSync('/proc/thread-self'));
  } catch {
    return null;
  }
}

let seen = 0;
present(parentPort, 'parent thread').postMessage(threadFile());
for (;;) {
  for (let i = 0; Atomics.load(words, mailbox.sequence) === seen; i++) {
    if (i > spins) Atomics.wait(words, mailbox.sequence, seen);
  }
  seen = Atomics.load(words, mailbox.sequence);
  const kernel = item(words, mailbox.kernel);
  if (kernel < 0) break;
  try {
    item(kernels, kernel)(task, thread, item(words, mailbox.threads));
  } catch (error) {
    const text = new TextEncoder().encode(`${item(names, kernel)}: ${String(error)}`).subarray(0, failure.bytes);
    new Uint8Array(memory.buffer, failure.address, text.length).set(text);
    words[mailbox.failed] = text.length;
  }
  Atomics.store(words, mailbox.done, seen);
  Atomics.notify(words, mailbox.done);
}
