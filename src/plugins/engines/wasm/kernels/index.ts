import type * as tf from '@tensorflow/tfjs-core';

import {activationKernels} from './activation.ts';
import {batchNormKernels} from './batch-norm.ts';
import {binRegularizerKernels} from './bin-regularizer.ts';
import {convKernels} from './conv.ts';
import {depthwiseKernels} from './depthwise.ts';
import {elementwiseKernels} from './elementwise.ts';
import {fakeQuantizeKernels} from './fake-quantize.ts';
import {geluKernels} from './gelu.ts';
import {layerNormKernels} from './layer-norm.ts';
import {matMulKernels} from './matmul.ts';
import {memoryKernels} from './memory.ts';
import {optimizerKernels} from './optimizer.ts';
import {poolKernels} from './pool.ts';
import {reduceKernels} from './reduce.ts';
import {softmaxKernels} from './softmax.ts';

/** Every kernel that replaces the cpu backend's. */
export const kernels: readonly tf.KernelConfig[] = [
  ...activationKernels,
  ...batchNormKernels,
  ...binRegularizerKernels,
  ...convKernels,
  ...depthwiseKernels,
  ...elementwiseKernels,
  ...fakeQuantizeKernels,
  ...geluKernels,
  ...layerNormKernels,
  ...matMulKernels,
  ...memoryKernels,
  ...optimizerKernels,
  ...poolKernels,
  ...reduceKernels,
  ...softmaxKernels,
];
