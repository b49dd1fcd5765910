import type * as tf from '@tensorflow/tfjs-core';

import {memoryKernels} from './memory.ts';

/** Every kernel that replaces the cpu backend's. */
export const kernels: readonly tf.KernelConfig[] = [...memoryKernels];
