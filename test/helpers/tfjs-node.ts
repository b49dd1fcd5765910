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

const refusesPadding = /^(Depthwise)?Conv2D.*Backprop|^(Max|Avg)Pool(Grad)?$/;

/** As `import('@tensorflow/tfjs-node')` does: registers a backend `tensorflow`, and makes it the current one. */
export async function importStandIn(_name?: string, usesGpu = false): Promise<unknown> {
  const isFirst = tf.getKernelsForBackend('tensorflow').length === 0;
  for (const kernel of isFirst ? tf.getKernelsForBackend('cpu') : []) {
    const {kernelName, kernelFunc} = kernel;
    tf.registerKernel({
      ...kernel,
      backendName: 'tensorflow',
      kernelFunc(call) {
        if (refusesPadding.test(kernelName) && call.attrs!['pad'] !== 'valid')
          throw new Error(`${kernelName} is padded`);
        return kernelFunc(call);
      },
    });
  }
  const backend = new StandInBackend();
  backend.isUsingGpuDevice = usesGpu;
  if (tf.engine().registryFactory['tensorflow'] !== undefined) tf.removeBackend('tensorflow');
  tf.registerBackend('tensorflow', () => backend);
  await tf.setBackend('tensorflow');
  return {version: {'tfjs-core': tf.version_core}};
}
