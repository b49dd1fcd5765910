import {afterEach, beforeAll, beforeEach} from '@jest/globals';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';

import {registerGradients} from '../../src/tensor/gradients.ts';

/** Runs the file's tests on tfjs' cpu backend, the oracle, and frees each test's tensors. */
export function useCpuBackend(): void {
  beforeAll(async () => {
    tf.enableProdMode();
    await tf.setBackend('cpu');
    registerGradients();
  });
  beforeEach(() => tf.engine().startScope());
  afterEach(() => tf.engine().endScope());
}
