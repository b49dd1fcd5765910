/** What the webgpu engine says when its device goes away, and when a tensor is larger than it takes: prints both as JSON. */
import * as tf from '@tensorflow/tfjs-core';

import {SdqError} from '../../src/errors.ts';
import type {Backend} from '../../src/plugins/engines/webgpu/gpu.ts';
import {webgpuEngine} from '../../src/plugins/engines/webgpu/index.ts';

interface Failure {
  readonly code?: string;
  readonly exit?: number;
  readonly message?: string;
}

export interface Failures {
  readonly healthy: readonly number[];
  readonly tooLarge: Failure;
  readonly lost: Failure;
  readonly afterwards: Failure;
  readonly restarted: readonly number[];
}

async function failureOf(work: () => Promise<unknown>): Promise<Failure> {
  try {
    await work();
    return {};
  } catch (error) {
    if (!(error instanceof SdqError)) throw error;
    return {code: error.code, exit: error.oclif.exit, message: error.message};
  }
}

const started = await webgpuEngine.start({threads: 1});
const {device} = tf.backend() as unknown as Backend;
const sum = async (length: number): Promise<number[]> => [
  ...(await tf.tidy(() => tf.sum(tf.add(tf.ones([length]), 1))).data()),
];
const healthy = await sum(3);
const tooLarge = await failureOf(() => sum(2 ** 30));
device.destroy();
const lost = await failureOf(() => sum(3));
const afterwards = await failureOf(() => sum(3));
await started.dispose();
const again = await webgpuEngine.start({threads: 1});
const restarted = await sum(3);
await again.dispose();
const failures: Failures = {healthy, tooLarge, lost, afterwards, restarted};
process.stdout.write(`\n${JSON.stringify(failures)}\n`);
