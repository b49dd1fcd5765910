/** `@tensorflow/tfjs-node` for tests of the tensorflow engine: whether it is installed, and a stand-in for it. */
import {createRequire} from 'node:module';

import {MathBackendCPU} from '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';

/** `npm ci` does not install it: it brings TensorFlow's library from elsewhere. */
export const isTfjsNodeInstalled = ((): boolean => {
  try {
    createRequire(import.meta.url).resolve('@tensorflow/tfjs-node');
    return true;
  } catch {
    return false;
  }
})();

export const outOfMemory =
  'Invalid TF_Status: 8\nMessage: OOM when allocating tensor with shape[128,32,32,16] and type float';

/** Plain JavaScript, with what is special about the backend of tfjs-node. */
export class StandInBackend extends MathBackendCPU {
  isUsingGpuDevice = false;
  executeSingleOutput(): never {
    throw new Error(outOfMemory);
  }
  executeMultipleOutputs(): never {
    throw new Error('Invalid TF_Status: 3');
  }
}

const takesNoPadding = /^(Conv2D|DepthwiseConv2dNative)Backprop|^(Max|Avg)Pool(Grad)?$/;

/** Of a backend `tensorflow`: the cpu backend's, some of which take no padding, as tfjs-node's; those return tensors. */
function registerKernels(): void {
  for (const kernel of tf.getKernelsForBackend('cpu')) {
    const {kernelName, kernelFunc} = kernel;
    tf.registerKernel({
      ...kernel,
      backendName: 'tensorflow',
      kernelFunc(call) {
        if (!takesNoPadding.test(kernelName)) return kernelFunc(call);
        if (call.attrs!['pad'] !== 'valid') throw new Error(`${kernelName} is padded`);
        return tf.engine().makeTensorFromTensorInfo(kernelFunc(call) as tf.TensorInfo);
      },
    });
  }
}

/** As `import('@tensorflow/tfjs-node')`: registers a backend `tensorflow`, and makes it the current one. */
export const standIn =
  ({usesGpu = false} = {}) =>
  async (): Promise<unknown> => {
    if (tf.getKernelsForBackend('tensorflow').length === 0) registerKernels();
    const backend = new StandInBackend();
    backend.isUsingGpuDevice = usesGpu;
    if (tf.engine().registryFactory['tensorflow'] !== undefined) tf.removeBackend('tensorflow');
    tf.registerBackend('tensorflow', () => backend);
    await tf.setBackend('tensorflow');
    return {version: {'tfjs-core': tf.version_core}};
  };
